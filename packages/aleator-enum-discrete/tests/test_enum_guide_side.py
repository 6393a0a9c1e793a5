"""Sums outside the logarithm: the guide's sites, enumerated in parallel, one by one, or by draws."""

import itertools

import pytest
import torch
from torch.distributions import constraints

import aleator
import aleator.distributions as dist
from aleator.errors import UnsupportedModelError
from aleator.infer import TraceEnum_ELBO, config_enumerate

D = torch.float64
DATA = torch.tensor([0.3, -1.2, 0.8], dtype=D)
PRIOR_Z = torch.tensor([0.2, 0.3, 0.5], dtype=D)
PRIOR_Y = torch.tensor([0.1, 0.5, 0.9], dtype=D)
MARKS = ["parallel", "sequential"]
WAYS = [{}, {"num_particles": 2}, {"num_particles": 2, "vectorize_particles": True}]


def model(logits_z, logits_y):
    z = aleator.sample("z", dist.Categorical(PRIOR_Z))
    with aleator.plate("rows", 3):
        y = aleator.sample("y", dist.Bernoulli(PRIOR_Y[z]))
        aleator.sample("x", dist.Normal(y + 0.1 * z.to(D), 1.0), obs=DATA)


def guide_with(mark_z, mark_y, **more):
    def guide(logits_z, logits_y):
        z = aleator.sample("z", dist.Categorical(logits=logits_z), infer={"enumerate": mark_z, **more})
        with aleator.plate("rows", 3):
            aleator.sample("y", dist.Bernoulli(logits=logits_y[z]), infer={"enumerate": mark_y, **more})

    return guide


def exact_loss(logits_z, logits_y):
    q_z = logits_z.softmax(-1)
    total = (q_z * (PRIOR_Z.log() - q_z.log())).sum()
    for z in range(3):
        for y in (0.0, 1.0):
            value = torch.tensor(y, dtype=D)
            log_q = dist.Bernoulli(logits=logits_y[z]).log_prob(value)
            log_p = dist.Bernoulli(PRIOR_Y[z]).log_prob(value) + dist.Normal(value + 0.1 * z, 1.0).log_prob(DATA)
            total = total + (q_z[z] * log_q.exp() * (log_p - log_q)).sum()
    return -total


def logits():
    z = torch.tensor([0.1, -0.4, 0.3], dtype=D, requires_grad=True)
    y = torch.tensor([0.5, -1.0, 0.2], dtype=D, requires_grad=True)
    return z, y


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(("mark_z", "mark_y"), list(itertools.product(MARKS, MARKS)))
@pytest.mark.parametrize("expand", [False, True])
def test_every_mixture_equals_the_sum(mark_z, mark_y, way, expand):
    """SEMANTICS 22, 29, 35: value and gradient, with particles in a loop and as a dim."""
    found_at, exact_at = logits(), logits()
    estimator = TraceEnum_ELBO(max_plate_nesting=1, **way)
    found = estimator.differentiable_loss(model, guide_with(mark_z, mark_y, expand=expand), *found_at)
    expected = exact_loss(*exact_at)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    gradients = zip(torch.autograd.grad(found, found_at), torch.autograd.grad(expected, exact_at), strict=True)
    for gradient, exact in gradients:
        torch.testing.assert_close(gradient, exact, rtol=0, atol=1e-12)


def test_second_derivatives():
    """SEMANTICS 30."""
    found_at, exact_at = logits(), logits()
    found = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(
        model, guide_with("parallel", "parallel"), *found_at
    )
    first = torch.autograd.grad(found, found_at[1], create_graph=True)[0]
    expected = torch.autograd.grad(exact_loss(*exact_at), exact_at[1], create_graph=True)[0]
    for place in range(3):
        torch.testing.assert_close(
            torch.autograd.grad(first[place], found_at[1], retain_graph=True)[0],
            torch.autograd.grad(expected[place], exact_at[1], retain_graph=True)[0],
            rtol=0,
            atol=1e-12,
        )


def test_guide_outside_and_model_inside_the_logarithm():
    """One site summed by the guide, those it leaves out by the model."""
    found_at, exact_at = logits(), logits()

    def guide(logits_z, logits_y):
        aleator.sample("z", dist.Categorical(logits=logits_z), infer={"enumerate": "parallel"})

    def exact(logits_z, logits_y):
        q_z = logits_z.softmax(-1)
        total = (q_z * (PRIOR_Z.log() - q_z.log())).sum()
        for z in range(3):
            terms = [
                dist.Bernoulli(PRIOR_Y[z]).log_prob(torch.tensor(y, dtype=D))
                + dist.Normal(y + 0.1 * z, 1.0).log_prob(DATA)
                for y in (0.0, 1.0)
            ]
            total = total + q_z[z] * torch.stack(terms).logsumexp(0).sum()
        return -total

    found = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(config_enumerate(model), guide, *found_at)
    expected = exact(*exact_at)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, found_at[0])[0], torch.autograd.grad(expected, exact_at[0])[0], rtol=0, atol=1e-12
    )


class Forced(torch.distributions.Bernoulli):
    """A Bernoulli whose draws are given, so that an expectation over draws can be written out."""

    draws = ()

    def sample(self, sample_shape=()):
        shape = torch.Size(sample_shape) + self.batch_shape
        value = Forced.draws[0]
        Forced.draws = Forced.draws[1:]
        return torch.as_tensor(value, dtype=D).expand(shape)

    def expand(self, batch_shape, _instance=None):
        return Forced(logits=self.logits.expand(batch_shape))


def expectation(estimator, model, guide, ways, *args):
    """The exact expectation of loss and surrogate gradient: each way with the probability of its draws."""
    value, gradients = 0.0, [torch.zeros_like(each) for each in args]
    for draws, probability in ways:
        Forced.draws = draws
        found = estimator.differentiable_loss(model, guide, *args)
        assert not Forced.draws
        value = value + probability * found.item()
        parts = torch.autograd.grad(found, args, allow_unused=True)
        gradients = [
            total if part is None else total + probability * part for total, part in zip(gradients, parts, strict=True)
        ]
    return value, gradients


@pytest.mark.parametrize("mark", MARKS)
def test_score_function_sites_beside_enumerated_ones(mark):
    """SEMANTICS 22: the expectation over a drawn switch of value and gradient is that of the exact sum."""
    logits_b = torch.tensor(0.4, dtype=D, requires_grad=True)
    logits_z = torch.tensor([0.1, -0.4, 0.3], dtype=D, requires_grad=True)

    def both(logits_b, logits_z):
        b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
        z = aleator.sample("z", dist.Categorical(PRIOR_Z))
        with aleator.plate("rows", 3):
            aleator.sample("x", dist.Normal(2.0 * b + z, 1.0), obs=DATA)

    def guide(logits_b, logits_z):
        b = aleator.sample("b", Forced(logits=logits_b))
        aleator.sample("z", dist.Categorical(logits=logits_z * (1 + b).unsqueeze(-1)), infer={"enumerate": mark})

    def exact(logits_b, logits_z):
        total = 0.0
        for b in (0.0, 1.0):
            q_b = torch.sigmoid(logits_b) if b else torch.sigmoid(-logits_b)
            log_p_b = torch.tensor(0.3 if b else 0.7, dtype=D).log()
            q_z = (logits_z * (1 + b)).softmax(-1)
            x = dist.Normal(2.0 * b + torch.arange(3.0, dtype=D), 1.0).log_prob(DATA.unsqueeze(-1)).sum(0)
            total = total + q_b * (log_p_b - q_b.log() + (q_z * (PRIOR_Z.log() - q_z.log() + x)).sum())
        return -total

    expected = exact(logits_b, logits_z)
    wanted = torch.autograd.grad(expected, (logits_b, logits_z))
    probability = torch.sigmoid(logits_b).item()
    # Draws before the sequential site are shared by its runs: one is asked for.
    ways = [((1.0,), probability), ((0.0,), 1 - probability)]
    value, gradients = expectation(TraceEnum_ELBO(max_plate_nesting=1), both, guide, ways, logits_b, logits_z)
    assert value == pytest.approx(expected.item(), abs=1e-12)
    for gradient, exact_gradient in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, exact_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("where", ["alone", "in a plate"])
def test_several_draws_in_place_of_all_values(where):
    """SEMANTICS 22: ``num_samples`` draws along a dim, each counting once in so many."""
    logit = torch.tensor([0.4, -0.3] if where == "in a plate" else [0.4], dtype=D, requires_grad=True)
    size = len(logit)

    def model(logit):
        with aleator.plate("rows", size):
            y = aleator.sample("y", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
            aleator.sample("x", dist.Normal(y, 1.0), obs=DATA[:size])

    def guide(logit):
        with aleator.plate("rows", size):
            aleator.sample("y", Forced(logits=logit), infer={"enumerate": "parallel", "num_samples": 2})

    q = torch.sigmoid(logit)
    exact = 0.0
    for y in (0.0, 1.0):
        value = torch.tensor(y, dtype=D)
        log_q = dist.Bernoulli(logits=logit).log_prob(value)
        log_p = dist.Bernoulli(torch.tensor(0.3, dtype=D)).log_prob(value) + dist.Normal(value, 1.0).log_prob(
            DATA[:size]
        )
        exact = exact - (log_q.exp() * (log_p - log_q)).sum()
    ways = []
    for draws in itertools.product((0.0, 1.0), repeat=2 * size):
        value = torch.tensor(draws, dtype=D).reshape(2, size)
        ways.append(((value,), torch.where(value == 1, q, 1 - q).prod().item()))
    found, gradients = expectation(TraceEnum_ELBO(max_plate_nesting=1), model, guide, ways, logit)
    assert found == pytest.approx(exact.item(), abs=1e-12)
    torch.testing.assert_close(gradients[0], torch.autograd.grad(exact, logit)[0], rtol=0, atol=1e-12)


def test_elements_of_a_plate_share_no_noise():
    """SEMANTICS 1, 23: the score of one element never meets the cost of another."""
    logit = torch.tensor([0.4, -0.3], dtype=D, requires_grad=True)

    def model(logit):
        z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
        with aleator.plate("rows", 2):
            y = aleator.sample("y", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
            aleator.sample("x", dist.Normal(y + 0.0 * z, 1.0), obs=DATA[:2])

    def guide(logit):
        aleator.sample("z", dist.Bernoulli(torch.tensor(0.3, dtype=D)), infer={"enumerate": "parallel"})
        with aleator.plate("rows", 2):
            aleator.sample("y", Forced(logits=logit))

    gradients = []
    for other in (0.0, 1.0):
        Forced.draws = (torch.tensor([1.0, other], dtype=D),)
        found = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model, guide, logit)
        gradients.append(torch.autograd.grad(found, logit)[0][0])
    assert gradients[0] == gradients[1]


def test_a_draw_inside_a_plate_that_a_global_term_looks_at():
    """SEMANTICS 23: peers drop the scores inside and only warn; here the expectation is exact."""
    logit = torch.tensor([0.4, -0.3], dtype=D, requires_grad=True)

    def model(logit):
        z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
        with aleator.plate("rows", 2):
            y = aleator.sample("y", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
        aleator.sample("x", dist.Normal(y.sum(-1) + z, 1.0), obs=DATA[0])

    def guide(logit):
        aleator.sample("z", dist.Bernoulli(torch.tensor(0.3, dtype=D)), infer={"enumerate": "parallel"})
        with aleator.plate("rows", 2):
            aleator.sample("y", Forced(logits=logit))

    q = torch.sigmoid(logit)
    exact = 0.0
    ways = []
    for draws in itertools.product((0.0, 1.0), repeat=2):
        y = torch.tensor(draws, dtype=D)
        each = torch.where(y == 1, q, 1 - q)
        x = torch.stack([dist.Normal(y.sum() + z, 1.0).log_prob(DATA[0]) for z in (0.0, 1.0)])
        law = torch.tensor([0.7, 0.3], dtype=D)
        prior = dist.Bernoulli(torch.tensor(0.3, dtype=D)).log_prob(y).sum()
        exact = exact - each.prod() * (prior - each.log().sum() + (law * x).sum())
        ways.append(((y,), each.prod().item()))
    found, gradients = expectation(TraceEnum_ELBO(max_plate_nesting=1), model, guide, ways, logit)
    assert found == pytest.approx(exact.item(), abs=1e-12)
    torch.testing.assert_close(gradients[0], torch.autograd.grad(exact, logit)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("mark", MARKS)
def test_enumerated_inside_a_plate_and_looked_at_outside_is_refused(mark):
    """SEMANTICS 23: an element's values go along one dim in step, so that a joint of elements is not there."""

    def model():
        with aleator.plate("rows", 2):
            y = aleator.sample("y", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
        aleator.sample("x", dist.Normal(y.sum(-1), 1.0), obs=DATA[0])

    def guide():
        with aleator.plate("rows", 2):
            aleator.sample("y", dist.Bernoulli(torch.tensor(0.3, dtype=D)), infer={"enumerate": mark})

    error = UnsupportedModelError if mark == "sequential" else ValueError
    with pytest.raises(
        error, match=r"site 'x' is outside the plate 'rows' and depends on 'y'|model site 'x' has batch"
    ):
        TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide)


def test_sequential_values_steer_the_program():
    """A value that is one number at a time can be read on the host, and its branches need not be alike."""

    def model():
        b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.25, dtype=D)))
        if b.item() == 1.0:
            c = aleator.sample("c", dist.Categorical(PRIOR_Z))
            aleator.sample("x", dist.Normal(c.to(D), 1.0), obs=DATA[0])
        else:
            aleator.sample("x", dist.Normal(5.0, 1.0), obs=DATA[0])

    def guide():
        b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.5, dtype=D)), infer={"enumerate": "sequential"})
        if b.item() == 1.0:
            aleator.sample("c", dist.Categorical(PRIOR_Z), infer={"enumerate": "sequential"})

    at = dist.Normal(torch.arange(3.0, dtype=D), 1.0).log_prob(DATA[0])
    half, quarter = torch.tensor(0.5, dtype=D), torch.tensor(0.25, dtype=D)
    inside = (quarter / half).log() + (PRIOR_Z * at).sum()
    outside = (0.75 / half).log() + dist.Normal(5.0, 1.0).log_prob(DATA[0])
    found = TraceEnum_ELBO(max_plate_nesting=0).loss(model, guide)
    assert found == pytest.approx(-(0.5 * inside + 0.5 * outside).item(), abs=1e-12)


def test_pathwise_draws_below_an_enumerated_site():
    """A continuous draw for each value of the switch: the gradient goes along it, weighted by the switch."""
    loc = torch.tensor([0.5, -0.5], dtype=D, requires_grad=True)

    def model(loc):
        b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.3, dtype=D)))
        z = aleator.sample("z", dist.Normal(b, 1.0))
        aleator.sample("x", dist.Normal(z, 1.0), obs=DATA[0])

    def guide(loc):
        b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.6, dtype=D)), infer={"enumerate": "parallel"})
        aleator.sample("z", dist.Normal(loc[b.long()], torch.tensor(0.7, dtype=D)))

    def exact(loc):
        total = torch.zeros((), dtype=D)
        for b, weight in ((0, 0.4), (1, 0.6)):
            prior = dist.Bernoulli(torch.tensor(0.3, dtype=D)).log_prob(torch.tensor(float(b), dtype=D))
            kl = dist.kl_divergence(dist.Normal(loc[b], 0.7), dist.Normal(torch.tensor(float(b), dtype=D), 1.0))
            fit = dist.Normal(loc[b], 1.0).log_prob(DATA[0]) - 0.5 * 0.7**2
            total = total + weight * (prior - torch.tensor(weight, dtype=D).log() - kl + fit)
        return -total

    estimator = TraceEnum_ELBO(num_particles=20000, vectorize_particles=True, max_plate_nesting=0)
    with aleator.rng(0):
        found = estimator.differentiable_loss(model, guide, loc)
    gradient = torch.autograd.grad(found, loc)[0]
    expected = exact(loc)
    # 20,000 draws: about 4 standard errors; a lost weight of the switch would be off by a factor of two.
    assert found.item() == pytest.approx(expected.item(), abs=0.04)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, loc)[0], rtol=0, atol=0.04)


def test_enumeration_trains_without_noise():
    """The posterior is reached, and not at the start."""
    from aleator.infer import SVI
    from aleator.optim import Adam

    def guide():
        q = aleator.param("q", torch.ones(3, dtype=D) / 3, constraint=constraints.simplex)
        aleator.sample("z", dist.Categorical(q), infer={"enumerate": "parallel"})

    def program():
        z = aleator.sample("z", dist.Categorical(PRIOR_Z))
        aleator.sample("x", dist.Normal(2.0 * z, 1.0), obs=DATA[0])

    posterior = (PRIOR_Z.log() + dist.Normal(2.0 * torch.arange(3.0, dtype=D), 1.0).log_prob(DATA[0])).softmax(-1)
    with aleator.ParamStore() as store:
        svi = SVI(program, guide, Adam(lr=0.1), TraceEnum_ELBO(max_plate_nesting=0), progress=False)
        svi.step()
        assert (store["q"] - posterior).abs().max() > 0.2
        for _ in range(400):
            svi.step()
        torch.testing.assert_close(store["q"].detach(), posterior, rtol=0, atol=2e-3)
