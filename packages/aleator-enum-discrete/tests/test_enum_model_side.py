"""Sums inside the logarithm: the model's sites, against every assignment written out."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import AleatorWarning, UnsupportedModelError
from aleator.infer import TraceEnum_ELBO, config_enumerate
from every_value import log_evidence

D = torch.float64


def table(*shape, seed=0):
    weights = torch.rand(shape, dtype=D, generator=torch.Generator().manual_seed(seed)) + 0.1
    return weights / weights.sum(-1, keepdim=True)


DATA = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=D)
LOCATIONS = torch.tensor([-1.0, 0.5, 2.0], dtype=D)


def nothing(*args):
    """A guide without sites."""


def loss(model, *args, guide=nothing, **options):
    options.setdefault("max_plate_nesting", 2)
    return TraceEnum_ELBO(**options).differentiable_loss(config_enumerate(model), guide, *args)


def global_and_local():
    z = aleator.sample("z", dist.Categorical(table(2)))
    with aleator.plate("rows", 2, dim=-2):
        y = aleator.sample("y", dist.Categorical(table(2, 3, seed=1)[z.long()]))
        with aleator.plate("columns", 3, dim=-1):
            aleator.sample("x", dist.Normal(LOCATIONS[y.long()] + z, 1.0), obs=DATA)


def nested_latents():
    with aleator.plate("rows", 2, dim=-2):
        y = aleator.sample("y", dist.Bernoulli(table(2)[0]))
        with aleator.plate("columns", 3, dim=-1):
            w = aleator.sample("w", dist.Bernoulli(table(2, 2, seed=2)[y.long(), 0]))
            aleator.sample("x", dist.Normal(w + 2 * y, 1.0), obs=DATA)


def plates_side_by_side():
    z = aleator.sample("z", dist.Bernoulli(table(2)[0]))
    with aleator.plate("a", 2):
        aleator.sample("x", dist.Normal(z, 1.0), obs=DATA[:, 0])
    with aleator.plate("b", 3):
        v = aleator.sample("v", dist.Bernoulli(table(2, 2, seed=3)[z.long(), 1]))
        aleator.sample("u", dist.Normal(v - z, 1.0), obs=DATA[0])


def plate_of_one():
    """A plate of size 1 around a latent and its data."""
    z = aleator.sample("z", dist.Categorical(table(3)))
    with aleator.plate("one", 1):
        y = aleator.sample("y", dist.Categorical(table(3, 2, seed=4)[z.long()]))
        aleator.sample("x", dist.Normal(y + z, 1.0), obs=DATA[0, :1])


def chain_in_plate():
    with aleator.plate("rows", 2):
        x = torch.zeros((), dtype=torch.long)
        for t in aleator.markov(range(3)):
            x = aleator.sample(f"x_{t}", dist.Categorical(table(3, 3, seed=5)[x.long()]))
            aleator.sample(f"y_{t}", dist.Normal(LOCATIONS[x.long()], 1.0), obs=DATA[:, t])


def plate_in_chain():
    x = torch.zeros((), dtype=torch.long)
    for t in aleator.markov(range(3)):
        x = aleator.sample(f"x_{t}", dist.Categorical(table(3, 3, seed=6)[x.long()]))
        with aleator.plate(f"rows_{t}", 2):
            aleator.sample(f"y_{t}", dist.Normal(LOCATIONS[x.long()], 1.0), obs=DATA[:, t])


def sequential_plate():
    z = aleator.sample("z", dist.Bernoulli(table(2)[0]))
    for i in aleator.plate("rows", 2):
        y = aleator.sample(f"y_{i}", dist.Bernoulli(table(2, 2, seed=7)[z.long(), 0]))
        aleator.sample(f"x_{i}", dist.Normal(y + z, 1.0), obs=DATA[i, 0])


def counts():
    n = aleator.sample("n", dist.Binomial(3, table(2)[0]))
    aleator.sample("x", dist.Normal(n, 1.0), obs=DATA[0, 0])


def one_hot():
    h = aleator.sample("h", dist.OneHotCategorical(table(3)))
    with aleator.plate("rows", 2):
        aleator.sample("x", dist.Normal((h * LOCATIONS).sum(-1), 1.0), obs=DATA[:, 0])


PROGRAMS = {
    "global and local": (global_and_local, {"z": 2, "y": 3}),
    "nested latents": (nested_latents, {"y": 2, "w": 2}),
    "plates side by side": (plates_side_by_side, {"z": 2, "v": 2}),
    "plate of one": (plate_of_one, {"z": 3, "y": 2}),
    "chain in plate": (chain_in_plate, {"x_0": 3, "x_1": 3, "x_2": 3}),
    "plate in chain": (plate_in_chain, {"x_0": 3, "x_1": 3, "x_2": 3}),
    "sequential plate": (sequential_plate, {"z": 2, "y_0": 2, "y_1": 2}),
    "counts": (counts, {"n": 4}),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("nesting", [2, float("inf")], ids=["stated", "guessed"])
def test_loss_is_minus_the_sum_over_every_assignment(name, expand, nesting):
    """SEMANTICS 29, 31: plates that nest, stand side by side, have one element, lie in chains and around them."""
    model, sizes = PROGRAMS[name]
    marked = config_enumerate(model, expand=expand)
    found = TraceEnum_ELBO(max_plate_nesting=nesting).loss(marked, nothing)
    assert found == pytest.approx(-log_evidence(model, sizes).item(), abs=1e-12)


def test_one_hot_values():
    expected = (table(3).log() + dist.Normal(LOCATIONS, 1.0).log_prob(DATA[:, :1]).sum(0)).logsumexp(-1)
    assert loss(one_hot).item() == pytest.approx(-expected.item(), abs=1e-12)


@pytest.mark.parametrize("options", [{"num_particles": 3}, {"num_particles": 3, "vectorize_particles": True}])
def test_particles_agree(options):
    """SEMANTICS 35: without draws every particle is the same; the particle dim lies between plates and sites."""
    assert loss(nested_latents, **options).item() == pytest.approx(loss(nested_latents).item(), abs=1e-12)


def test_value_equals_differentiable_loss_without_noise():
    """SEMANTICS 30."""
    estimator = TraceEnum_ELBO(max_plate_nesting=2)
    model = config_enumerate(global_and_local)
    assert estimator.loss(model, nothing) == estimator.differentiable_loss(model, nothing).item()
    assert estimator.loss(model, nothing) == estimator.loss(model, nothing)


def test_gradient_and_second_derivative_are_those_of_the_sum():
    """SEMANTICS 30: infinitely differentiable."""
    logits = torch.tensor([0.3, -0.2, 0.5], dtype=D, requires_grad=True)

    def model(logits):
        with aleator.plate("rows", 2):
            z = aleator.sample("z", dist.Categorical(logits=logits))
            aleator.sample("x", dist.Normal(LOCATIONS[z], 1.0), obs=DATA[:, 0])

    def exact(logits):
        return -(logits.log_softmax(-1) + dist.Normal(LOCATIONS, 1.0).log_prob(DATA[:, :1])).logsumexp(-1).sum()

    found = loss(model, logits)
    first = torch.autograd.grad(found, logits, create_graph=True)[0]
    expected = torch.autograd.grad(exact(logits), logits, create_graph=True)[0]
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-12)
    for place in range(3):
        torch.testing.assert_close(
            torch.autograd.grad(first[place], logits, retain_graph=True)[0],
            torch.autograd.grad(expected[place], logits, retain_graph=True)[0],
            rtol=0,
            atol=1e-12,
        )


def test_impossible_values_make_no_nan():
    """SEMANTICS 24: minus infinity in a table is a weight like any other, in the value and in the gradient."""
    logits = torch.tensor([0.0, -torch.inf, 1.0], dtype=D, requires_grad=True)

    def model(logits):
        z = aleator.sample("z", dist.Categorical(logits=logits, validate_args=False))
        aleator.sample("x", dist.Normal(LOCATIONS[z], 1.0), obs=DATA[0, 0])

    with aleator.validation_enabled(False):
        found = loss(model, logits)
    found.backward()
    assert found.isfinite()
    assert logits.grad[[0, 2]].isfinite().all()
    assert logits.grad[1] == 0.0


def test_mask_acts_inside_the_sum():
    """SEMANTICS 25: masked data drop out of their element's sum; a masked latent keeps its law, which sums to one."""
    mask = torch.tensor([True, False, True])

    def model(mask_latents):
        with aleator.plate("rows", 3):
            with handlers.mask(mask=mask if mask_latents else True):
                z = aleator.sample("z", dist.Categorical(table(3)))
            with handlers.mask(mask=mask):
                aleator.sample("x", dist.Normal(LOCATIONS[z.long()], 1.0), obs=DATA[0])

    by_row = (table(3).log() + dist.Normal(LOCATIONS, 1.0).log_prob(DATA[0].unsqueeze(-1))).logsumexp(-1)
    for mask_latents in (False, True):
        assert loss(model, mask_latents).item() == pytest.approx(-by_row[mask].sum().item(), abs=1e-12)


def test_what_depends_on_a_masked_latent_sees_its_law():
    """SEMANTICS 25: as Pyro has it."""

    def model():
        with handlers.mask(mask=False):
            z = aleator.sample("z", dist.Categorical(table(3)))
        aleator.sample("x", dist.Normal(LOCATIONS[z.long()], 1.0), obs=DATA[0, 0])

    expected = (table(3).log() + dist.Normal(LOCATIONS, 1.0).log_prob(DATA[0, 0])).logsumexp(-1)
    assert loss(model).item() == pytest.approx(-expected.item(), abs=1e-12)


def test_scale_acts_outside_the_sum():
    """SEMANTICS 25: subsampled elements count as often as their plate says, each with its own sum."""

    def model():
        with aleator.plate("rows", 9, subsample=torch.tensor([0, 4, 8])):
            z = aleator.sample("z", dist.Categorical(table(3)))
            aleator.sample("x", dist.Normal(LOCATIONS[z.long()], 1.0), obs=DATA[0])

    by_row = (table(3).log() + dist.Normal(LOCATIONS, 1.0).log_prob(DATA[0].unsqueeze(-1))).logsumexp(-1)
    assert loss(model).item() == pytest.approx(-3.0 * by_row.sum().item(), abs=1e-12)
    assert loss(handlers.scale(model, scale=0.5)).item() == pytest.approx(-1.5 * by_row.sum().item(), abs=1e-12)


def test_scales_that_differ_inside_a_sum_are_refused():
    """SEMANTICS 25: the message names both sites, the plate, and the site that ties them."""

    def model():
        z = aleator.sample("z", dist.Categorical(table(3)))
        with aleator.plate("rows", 9, subsample=torch.tensor([0, 4, 8])):
            aleator.sample("x", dist.Normal(LOCATIONS[z.long()], 1.0), obs=DATA[0])

    with pytest.raises(
        UnsupportedModelError, match=r"'z' \(scale 1.*'x' \(scale 3, plate 'rows' with 3 of 9.*sum over"
    ):
        loss(model)


def test_elementwise_scale_inside_a_sum_is_refused():
    """SEMANTICS 25."""

    def model():
        with aleator.plate("rows", 3), handlers.scale(scale=torch.tensor([1.0, 2.0, 3.0], dtype=D)):
            z = aleator.sample("z", dist.Categorical(table(3)))
            aleator.sample("x", dist.Normal(LOCATIONS[z.long()], 1.0), obs=DATA[0])

    with pytest.raises(UnsupportedModelError, match=r"site 'z' has a scale of shape \(3,\).*'z'"):
        loss(model)


def test_terms_that_touch_no_enumerated_site_keep_their_own_scale():
    """SEMANTICS 26."""

    def model():
        aleator.sample("apart", dist.Normal(0.0, 1.0), obs=torch.tensor(0.7, dtype=D))
        with aleator.plate("rows", 9, subsample=torch.tensor([0, 4, 8])):
            z = aleator.sample("z", dist.Categorical(table(3)))
            aleator.sample("x", dist.Normal(LOCATIONS[z.long()], 1.0), obs=DATA[0])

    by_row = (table(3).log() + dist.Normal(LOCATIONS, 1.0).log_prob(DATA[0].unsqueeze(-1))).logsumexp(-1)
    apart = dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.7, dtype=D))
    assert loss(model).item() == pytest.approx(-(3.0 * by_row.sum() + apart).item(), abs=1e-12)


def test_crossing_plates_are_refused():
    """SEMANTICS 31: no tree of plates, no efficient order."""

    def crossing():
        a, b = aleator.plate("a", 2, dim=-2), aleator.plate("b", 3, dim=-1)
        with a:
            y = aleator.sample("y", dist.Bernoulli(table(2)[0]))
        with b:
            w = aleator.sample("w", dist.Bernoulli(table(2)[0]))
        with a, b:
            aleator.sample("x", dist.Normal(y + w, 1.0), obs=DATA)

    with pytest.raises((UnsupportedModelError, NotImplementedError), match=r"'a'.*'b'|'b'.*'a'"):
        loss(crossing)


def test_a_site_outside_a_plate_cannot_look_inside():
    """SEMANTICS 23: peers warn; a sum by elements would be wrong."""

    def model():
        with aleator.plate("rows", 2):
            z = aleator.sample("z", dist.Bernoulli(table(2)[0]))
        aleator.sample("x", dist.Normal(z.sum(-1), 1.0), obs=DATA[0, 0])

    with pytest.raises(ValueError, match=r"'z'.*'rows'|site 'x'"):
        loss(model)


def test_guide_must_be_as_global_as_the_model():
    """SEMANTICS 27."""

    def model():
        z = aleator.sample("z", dist.Bernoulli(table(2)[0]))
        with aleator.plate("rows", 2):
            y = aleator.sample("y", dist.Bernoulli(table(2, 2, seed=1)[z.long(), 0]))
            aleator.sample("x", dist.Normal(y, 1.0), obs=DATA[:, 0])

    def guide():
        with aleator.plate("rows", 2):
            aleator.sample("y", dist.Bernoulli(table(2)[0]), infer={"enumerate": "parallel"})

    with pytest.raises(UnsupportedModelError, match=r"guide enumerates 'y' inside 'rows'.*sums out 'z'"):
        loss(model, guide=guide)


def test_nothing_to_enumerate_warns_unless_told_not_to():
    plain = handlers.condition(global_and_local, data={"z": torch.tensor(0), "y": torch.zeros(2, 1).long()})
    with pytest.warns(AleatorWarning, match="found no site to enumerate"):
        TraceEnum_ELBO(max_plate_nesting=2).loss(plain, nothing)
    TraceEnum_ELBO(max_plate_nesting=2, strict_enumeration_warning=False).loss(plain, nothing)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ({"enumerate": "sequential"}, "model site 'z' asks for sequential enumeration"),
        ({"enumerate": "paralel"}, "asks for the enumeration 'paralel'"),
        ({"enumerate": "parallel", "num_samples": 3}, "model site 'z' asks for num_samples=3"),
    ],
)
def test_marks_that_a_model_cannot_have(mark, message):
    def model():
        aleator.sample("z", dist.Bernoulli(0.5), infer=mark)

    with pytest.raises(ValueError, match=message):
        TraceEnum_ELBO(max_plate_nesting=0).loss(model, nothing)


def test_values_that_cannot_be_listed():
    def continuous():
        aleator.sample("z", dist.Normal(0.0, 1.0), infer={"enumerate": "parallel"})

    def joint():
        aleator.sample("z", dist.Bernoulli(torch.full((3,), 0.5)).to_event(1), infer={"enumerate": "parallel"})

    with pytest.raises(UnsupportedModelError, match=r"site 'z'.*Normal cannot list"):
        TraceEnum_ELBO(max_plate_nesting=0).loss(continuous, nothing)
    with pytest.raises(UnsupportedModelError, match=r"site 'z'"):
        TraceEnum_ELBO(max_plate_nesting=0).loss(joint, nothing)


def test_plate_left_of_the_stated_nesting_is_refused():
    with pytest.raises(ValueError, match=r"plate 'rows' needs more than the 1"):
        loss(nested_latents, max_plate_nesting=1)


def test_one_estimator_serves_calls_that_interleave():
    """SEMANTICS 28: dims belong to the run, so an estimate inside another one disturbs nothing."""
    estimator = TraceEnum_ELBO(max_plate_nesting=1)
    inner = []

    def model():
        z = aleator.sample("z", dist.Categorical(table(3)))
        with handlers.block():
            inner.append(estimator.loss(config_enumerate(one_hot), nothing))
        with aleator.plate("rows", 2):
            aleator.sample("x", dist.Normal(LOCATIONS[z.long()], 1.0), obs=DATA[:, 0])

    expected = TraceEnum_ELBO(max_plate_nesting=1).loss(config_enumerate(one_hot), nothing)
    exact = (table(3).log() + dist.Normal(LOCATIONS, 1.0).log_prob(DATA[:, :1]).sum(0)).logsumexp(-1)
    assert estimator.loss(config_enumerate(model), nothing) == pytest.approx(-exact.item(), abs=1e-12)
    assert inner == [expected] * len(inner)
