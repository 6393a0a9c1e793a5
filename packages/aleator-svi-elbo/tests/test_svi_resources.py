"""What a long run costs: one host read per step, one optimizer, no growth."""

from __future__ import annotations

import gc
from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.handlers import Messenger
from aleator.optim import Adam
from aleator_svi_elbo import SVI, Trace_ELBO

DATA = torch.tensor([1.0, 2.0, 3.0])


def model(data):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3, subsample_size=2) as rows:
        b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.3)))
        aleator.sample("x", dist.Normal(z + b, torch.tensor(1.0)), obs=data[rows])


def guide(data):
    loc = aleator.param("loc", torch.tensor(0.5))
    scale = aleator.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    probs = aleator.param("probs", 0.5 * torch.ones(3), constraint=constraints.unit_interval)
    aleator.sample("z", dist.Normal(loc, scale))
    with aleator.plate("data", 3, subsample_size=2) as rows:
        aleator.sample("b", dist.Bernoulli(probs[rows]))


FORMS = [
    pytest.param({}, id="one"),
    pytest.param({"num_particles": 3}, id="looped"),
    pytest.param({"num_particles": 3, "vectorize_particles": True, "max_plate_nesting": 1}, id="vectorized"),
]


class FunctionReads(TorchFunctionMode):
    """Counts the methods through which Python gets numbers out of tensors."""

    READS = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__array__", "is_nonzero")

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in self.READS:
            self.counts[name] += 1
        return function(*args, **(kwargs or {}))


class DispatchedReads(TorchDispatchMode):
    """Counts the kernel behind them, also where C++ asks for a number."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "_local_scalar_dense" in str(function) or "nonzero" in str(function):
            self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", FORMS)
def test_one_host_read_per_step(options):
    """SEMANTICS 79: The loss, the gradients' state and the checks come back in one reading."""
    with aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.01), Trace_ELBO(**options), rng=0, progress=False)
        for _ in range(3):
            svi.step(DATA)
        with FunctionReads() as reads:
            for _ in range(5):
                svi.step(DATA)
        assert reads.counts == {"tolist": 5}
        with DispatchedReads() as dispatched:
            for _ in range(5):
                svi.step(DATA)
        assert dispatched.count == 0


def test_a_read_in_the_program_is_seen_by_the_counter():
    """The broken twin: a guide that reads its parameter."""

    def reading_guide(data):
        guide(data)
        aleator.param("loc").item()

    with aleator.ParamStore():
        svi = SVI(model, reading_guide, Adam(lr=0.01), Trace_ELBO(), rng=0, progress=False)
        svi.step(DATA)
        with FunctionReads() as reads:
            svi.step(DATA)
        assert reads.counts == {"tolist": 1, "item": 1}
        with DispatchedReads() as dispatched:
            svi.step(DATA)
        assert dispatched.count == 1


def live_tensors():
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.parametrize("options", [{}, {"num_particles": 2}])
def test_two_hundred_steps_leave_nothing_behind(options):
    """SEMANTICS 79: Constant live tensors; a trace or a graph kept per step would be hundreds."""
    with aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.01), Trace_ELBO(**options), rng=0, progress=False)
        for _ in range(10):
            svi.step(DATA)
        before = live_tensors()
        for _ in range(200):
            svi.step(DATA)
        assert live_tensors() == before


def test_one_torch_optimizer_for_a_whole_run(monkeypatch):
    """SEMANTICS 79: The peers make one per parameter; ours is one, and it is made once."""
    made = []

    class Counted(torch.optim.SGD):
        def __init__(self, *args, **kwargs):
            made.append(self)
            super().__init__(*args, **kwargs)

    with aleator.ParamStore():
        svi = SVI(model, guide, lambda parameters: Counted(parameters, lr=1e-4), Trace_ELBO(), rng=0, progress=False)
        for _ in range(200):
            svi.step(DATA)
    assert len(made) == 1
    assert len(made[0].param_groups[0]["params"]) == 3


def test_programs_run_once_per_step():
    calls = Counter()

    class Count(Messenger):
        def postprocess_sample(self, site):
            calls[site.name] += 1

    with aleator.ParamStore(), Count():
        svi = SVI(model, guide, Adam(lr=0.01), Trace_ELBO(), rng=0, progress=False)
        for _ in range(4):
            svi.step(DATA)
    assert calls == {"z": 8, "b": 8, "x": 4}


def test_a_step_holds_no_trace_after_it():
    """Nothing of a step's graph is reachable from the run."""
    values = []

    class Watch(Messenger):
        def postprocess_sample(self, site):
            import weakref

            values.append(weakref.ref(site.fn))

    with aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.01), Trace_ELBO(num_particles=2), rng=0, progress=False)
        with Watch():
            svi.step(DATA)
        gc.collect()
        assert all(reference() is None for reference in values)
