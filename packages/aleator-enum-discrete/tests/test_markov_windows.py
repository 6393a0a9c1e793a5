"""Chains: few dims used again and again, for every form of ``markov``; and no dependence beyond the window."""

import itertools

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import UnsupportedModelError
from aleator.infer import TraceEnum_ELBO, config_enumerate
from every_value import log_evidence

D = torch.float64
K = 2
GENERATOR = torch.Generator().manual_seed(0)
START = torch.tensor([0.3, 0.7], dtype=D)
STEP = torch.rand(K, K, K, K, dtype=D, generator=GENERATOR).softmax(-1)  # the three values before, then this one
DATA = torch.randn(6, dtype=D, generator=GENERATOR)


def nothing(*args):
    """A guide without sites."""


def chain(order, history, length=5):
    """A chain whose steps look ``order`` steps back, and say that they look ``history`` back."""
    past = []
    for t in aleator.markov(range(length), history=history):
        before = [past[t - k] if t - k >= 0 else torch.zeros(()) for k in range(1, order + 1)]
        before += [torch.zeros(())] * (3 - order)
        probs = STEP[tuple(value.long() for value in before)] if order else START
        past.append(aleator.sample(f"x_{t}", dist.Categorical(probs)))
        aleator.sample(f"y_{t}", dist.Normal(past[t].to(D), 1.0), obs=DATA[t])


def loss(model, *args, guide=nothing):
    return TraceEnum_ELBO(max_plate_nesting=0).loss(config_enumerate(model), guide, *args)


@pytest.mark.parametrize(("order", "history"), [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3)])
def test_every_order_equals_the_sum(order, history):
    """SEMANTICS 37, 39."""
    sizes = {f"x_{t}": K for t in range(5)}
    assert loss(chain, order, history) == pytest.approx(-log_evidence(chain, sizes, order, history).item(), abs=1e-12)


@pytest.mark.parametrize(("order", "history"), [(1, 0), (2, 1), (3, 1), (3, 2)])
def test_a_dependence_beyond_the_window_is_refused(order, history):
    """SEMANTICS 38: the peers read t-3 under history=1 as t-1 and say nothing."""
    with pytest.raises(UnsupportedModelError, match=rf"outside its markov window \(history={history}\)"):
        loss(chain, order, history)


def test_dims_are_used_again():
    """SEMANTICS 38, 39: a chain of history h needs h + 1 dims, whatever its length."""
    for history in (1, 2):
        with handlers.trace() as trace, handlers.enum(first_available_dim=-1):
            config_enumerate(chain)(history, history, 6)
        widths = [trace.nodes[f"x_{t}"].value.dim() for t in range(6)]
        assert max(widths) == history + 1
        assert widths[: history + 1] == list(range(1, history + 2))


def chain_by_context(length):
    """The same chain, its steps entered one after the other."""
    context = aleator.markov(history=1)
    x = torch.zeros(())
    for t in range(length):
        with context:
            x = aleator.sample(f"x_{t}", dist.Categorical(STEP[x.long(), 0, 0]))
            aleator.sample(f"y_{t}", dist.Normal(x.to(D), 1.0), obs=DATA[t])


def chain_by_recursion(length):
    """The same chain, each step inside the one before."""

    @aleator.markov(history=1)
    def step(t, x):
        if t == length:
            return
        x = aleator.sample(f"x_{t}", dist.Categorical(STEP[x.long(), 0, 0]))
        aleator.sample(f"y_{t}", dist.Normal(x.to(D), 1.0), obs=DATA[t])
        step(t + 1, x)

    step(0, torch.zeros(()))


@pytest.mark.parametrize("form", [chain_by_context, chain_by_recursion])
def test_loop_context_and_decorator_agree(form):
    """SEMANTICS 37."""
    assert loss(form, 5) == pytest.approx(loss(chain, 1, 1, 5), abs=1e-12)


def test_chains_nest():
    """SEMANTICS 37: an inner chain sees the steps of the outer one that are live, and its own."""

    def model():
        a = torch.zeros(())
        for i in aleator.markov(range(3)):
            a = aleator.sample(f"a_{i}", dist.Categorical(STEP[a.long(), 0, 1]))
            b = torch.zeros(())
            for j in aleator.markov(range(2)):
                b = aleator.sample(f"b_{i}_{j}", dist.Categorical(STEP[b.long(), a.long(), 0]))
                aleator.sample(f"y_{i}_{j}", dist.Normal((a + b).to(D), 1.0), obs=DATA[i])

    sizes = {f"a_{i}": K for i in range(3)} | {f"b_{i}_{j}": K for i, j in itertools.product(range(3), range(2))}
    assert loss(model) == pytest.approx(-log_evidence(model, sizes).item(), abs=1e-12)


@pytest.mark.parametrize("keep", [False, True])
def test_branches(keep):
    """SEMANTICS 37: a tree by recursion; siblings see each other where ``keep`` says so, and else are refused."""

    def model(looks_aside):
        last = {}

        @aleator.markov(history=1, keep=keep)
        def branch(name, depth, x):
            before = last.get(depth, torch.zeros(())) if looks_aside else torch.zeros(())
            x = aleator.sample(f"x_{name}", dist.Categorical(STEP[x.long(), before.long(), 1]))
            aleator.sample(f"y_{name}", dist.Normal(x.to(D), 1.0), obs=DATA[depth])
            last[depth] = x
            if depth < 2:
                branch(name + "l", depth + 1, x)
                branch(name + "r", depth + 1, x)

        branch("", 0, torch.zeros(()))

    names = ["", "l", "ll", "lr", "r", "rl", "rr"]
    for looks_aside in (False, True):
        exact = -log_evidence(model, {f"x_{name}": K for name in names}, looks_aside).item()
        if looks_aside and not keep:
            with pytest.raises(UnsupportedModelError, match="outside its markov window"):
                loss(model, looks_aside)
        else:
            assert loss(model, looks_aside) == pytest.approx(exact, abs=1e-12)


def test_a_chain_in_the_guide():
    """SEMANTICS 39: guide and model walk their own loops, the values of one in the windows of the other."""
    logits = torch.tensor([[0.2, -0.1], [0.4, 0.3]], dtype=D, requires_grad=True)
    length = 4

    def guide(logits):
        x = torch.zeros(())
        for t in aleator.markov(range(length)):
            law = dist.Categorical(logits=logits[x.long()])
            x = aleator.sample(f"x_{t}", law, infer={"enumerate": "parallel"})

    def model(logits):
        chain(1, 1, length)

    def exact(logits):
        total = 0.0
        log_q = logits.log_softmax(-1)
        for xs in itertools.product(range(K), repeat=length):
            weight = cost = torch.zeros((), dtype=D)
            before = 0
            for t, x in enumerate(xs):
                cost = cost + STEP[before, 0, 0, x].log() + dist.Normal(float(x), 1.0).log_prob(DATA[t])
                weight = weight + log_q[before, x]
                before = x
            total = total + weight.exp() * (cost - weight)
        return -total

    found = TraceEnum_ELBO(max_plate_nesting=0).differentiable_loss(model, guide, logits)
    expected = exact(logits)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, logits)[0], torch.autograd.grad(expected, logits)[0], rtol=0, atol=1e-12
    )


def test_a_window_is_checked_again_when_the_program_changes():
    """What was found about one program says nothing of another; a switch among the arguments tells them apart."""

    def model(reaches_back):
        past = []
        for t in aleator.markov(range(4)):
            before = past[t - 2] if reaches_back and t > 1 else past[t - 1] if t else torch.zeros(())
            past.append(aleator.sample(f"x_{t}", dist.Categorical(STEP[before.long(), 0, 0])))

    loss(model, False)
    with pytest.raises(UnsupportedModelError, match="markov window"):
        loss(model, True)
    loss(model, False)


def test_cost_is_linear_in_the_length():
    """SEMANTICS 39: multiplications of the plan, and log_prob calls, for 10, 20 and 40 steps."""
    from aleator_enum_discrete.engine.contraction import plan_contraction
    from aleator_enum_discrete.posterior_tables import posterior_tables

    found = []
    for length in (10, 20, 40):
        with handlers.trace() as trace, handlers.enum(first_available_dim=-1):
            x = torch.zeros(())
            for t in aleator.markov(range(length)):
                x = aleator.sample(f"x_{t}", dist.Categorical(STEP[x.long(), 0, 0]), infer={"enumerate": "parallel"})
                aleator.sample(f"y_{t}", dist.Normal(x.to(D), 1.0), obs=DATA[0])
        posterior = posterior_tables(trace)
        found.append(plan_contraction(posterior.tables, posterior.domain).cost.multiplications)
    assert found[2] - found[1] == 2 * (found[1] - found[0])


def test_cost_is_linear_in_the_guide_too(monkeypatch):
    """SEMANTICS 39: one sum and its gradient for all terms, whose plan grows with the length alone."""
    from aleator_enum_discrete import expectation
    from aleator_enum_discrete.engine.contraction import plan_contraction

    costs = []

    def counted(tables, domain, *args, **options):
        costs.append(plan_contraction(tables, domain).cost.multiplications)
        return original(tables, domain, *args, **options)

    original = expectation.marginalize
    monkeypatch.setattr(expectation, "marginalize", counted)
    for length in (10, 20, 40):

        def guide(length=length):
            x = torch.zeros(())
            for t in aleator.markov(range(length)):
                x = aleator.sample(f"x_{t}", dist.Categorical(STEP[x.long(), 0, 0]), infer={"enumerate": "parallel"})

        def model(length=length):
            x = torch.zeros(())
            for t in aleator.markov(range(length)):
                x = aleator.sample(f"x_{t}", dist.Categorical(STEP[x.long(), 1, 0]))

        TraceEnum_ELBO(max_plate_nesting=0).loss(model, guide)
    assert len(costs) == 3
    assert costs[2] - costs[1] == 2 * (costs[1] - costs[0])
