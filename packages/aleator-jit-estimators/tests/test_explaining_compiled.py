"""``explain`` of a compiled estimator says what the one inside does, and what compiling came to."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.errors import AleatorWarning
from aleator.infer import JitTrace_ELBO, Trace_ELBO, compile, explain, is_available
from aleator_jit_estimators import CompileReport

DATA = torch.tensor([1.0, 2.5])


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as own:
        yield own


def model(data):
    z = aleator.sample("z", dist.Bernoulli(0.5))
    with aleator.plate("data", len(data)):
        aleator.sample("x", dist.Normal(z, 1.0), obs=data)


def guide(data):
    aleator.sample("z", dist.Bernoulli(logits=aleator.param("logit", torch.tensor(0.0))))


def branching(data):
    z = aleator.sample("z", dist.Bernoulli(0.5))
    with aleator.plate("data", len(data)):
        aleator.sample("x", dist.Normal(1.0 if z > 0 else 0.0, 1.0), obs=data)


def test_explanation_is_that_of_the_estimator_inside():
    plain, compiled = (explain(model, guide, each, DATA) for each in (Trace_ELBO(), JitTrace_ELBO(backend="eager")))
    assert compiled.rows == plain.rows
    assert compiled.estimator == "JitTrace_ELBO(backend='eager')"
    assert compiled.sums[0] == "compiled, backend 'eager':"
    assert "graphs recorded 0, built 0, loaded 0, being built 0" in compiled.sums


def test_explaining_compiles_nothing_and_says_what_steps_have_compiled():
    elbo = compile(Trace_ELBO(), backend="eager")
    for _ in range(2):
        explain(model, guide, elbo, DATA)
    assert elbo.report == CompileReport()
    for _ in range(3):
        elbo.loss_and_grads(model, guide, DATA)
    said = "\n".join(explain(model, guide, elbo, DATA).sums)
    assert "graphs recorded 1, built 1" in said
    assert f"{elbo.report.compiled_step * 1e6:.0f} us compiled" in said
    assert elbo.report.compiled_step > 0.0
    assert "graphs recorded 0" in str(explain(branching, guide, elbo, DATA))


def test_programs_that_run_uncompiled_are_timed_and_the_reason_is_explained():
    elbo = compile(Trace_ELBO(), backend="eager")
    elbo.loss_and_grads(branching, guide, DATA)
    with pytest.warns(AleatorWarning, match="runs uncompiled"):
        elbo.loss_and_grads(branching, guide, DATA)
    assert elbo.report.eager_step > 0.0
    assert elbo.report.compiled_step == 0.0
    assert "reads a value on the host" in str(explain(branching, guide, elbo, DATA))


def test_break_even_is_what_was_spent_over_what_a_step_saves():
    report = CompileReport(seconds=2.0, eager_step=0.003, compiled_step=0.001)
    assert report.break_even == pytest.approx(1000.0)
    assert "paid for after 1000 steps" in str(report)
    assert "3000 us uncompiled, 1000 us compiled" in str(report)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (CompileReport(seconds=2.0, eager_step=0.001, compiled_step=0.003), "a compiled step is no faster"),
        (CompileReport(seconds=2.0, compiled_step=0.003), "a step: not measured uncompiled, 3000 us compiled"),
    ],
)
def test_where_there_is_no_break_even_the_report_says_why(report, said):
    assert report.break_even == float("inf")
    assert said in str(report)


@pytest.mark.skipif(not is_available("TraceEnum_ELBO"), reason="needs aleator-enum-discrete")
def test_enumerated_sites_are_explained_as_the_estimator_inside_runs_them():
    from aleator.infer import JitTraceEnum_ELBO, TraceEnum_ELBO

    def summed(data):
        z = aleator.sample("z", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        with aleator.plate("data", len(data)):
            aleator.sample("x", dist.Normal(z, 1.0), obs=data)

    def nothing(data):
        pass

    plain = explain(summed, nothing, TraceEnum_ELBO(max_plate_nesting=1), DATA)
    compiled = explain(summed, nothing, JitTraceEnum_ELBO(max_plate_nesting=1, backend="eager"), DATA)
    assert compiled.rows == plain.rows
    assert compiled.sums[: len(plain.sums)] == plain.sums
    assert len(plain.sums) == 1
