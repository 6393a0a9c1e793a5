"""Joint maxima and joint draws, by ``infer_discrete``, ``sample_posterior`` and ``BackwardSampleMessenger``."""

import math

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import AleatorWarning, UnsupportedModelError
from aleator.infer import BackwardSampleMessenger, TraceEnum_ELBO, config_enumerate, infer_discrete
from every_value import posterior

D = torch.float64
K = 2
DATA = torch.tensor([0.3, -1.2, 0.8], dtype=D)
STEP = torch.tensor([[0.8, 0.2], [0.3, 0.7]], dtype=D)
TIED = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=D)


def nothing(*args):
    """A guide without sites."""


@config_enumerate
def chain():
    x = torch.zeros(()).long()
    states = []
    for t in aleator.markov(range(3)):
        x = aleator.sample(f"x_{t}", dist.Categorical(STEP[x]))
        states.append(x)
        aleator.sample(f"y_{t}", dist.Normal(x.to(D), 1.0), obs=DATA[t])
    return states


@config_enumerate
def mixture():
    z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.4, dtype=D)))
    with aleator.plate("rows", 3):
        y = aleator.sample("y", dist.Categorical(TIED[z.long()]))
        aleator.sample("x", dist.Normal(y + z, 3.0), obs=DATA)
    return z, y


def draws_of(run, count):
    with aleator.rng(0):
        return [run() for _ in range(count)]


def chi_square(found, probabilities, count):
    """Pearson's statistic over the degrees of freedom; 1 on average where the draws follow the probabilities."""
    total = 0.0
    for key, probability in probabilities.items():
        expected = count * probability
        total += (found.get(key, 0) - expected) ** 2 / expected
    return total / (len(probabilities) - 1)


def joint_of(model, sizes):
    every, probabilities, _ = posterior(model, sizes)
    return {
        tuple(int(v) for name in sizes for v in values[name].flatten().tolist()): probability.item()
        for values, probability in zip(every, probabilities, strict=True)
    }


SETTINGS = {
    "chain": (chain, {"x_0": K, "x_1": K, "x_2": K}, -1),
    "mixture": (mixture, {"z": 2, "y": 2}, -2),
}


def flat(values):
    return tuple(int(v) for value in values for v in torch.as_tensor(value).flatten().tolist())


def by_infer_discrete(model, first):
    return infer_discrete(model, first_available_dim=first, temperature=1)


def by_default_dims(model, first):
    return infer_discrete(model)


def by_sample_posterior(model, first):
    return lambda: TraceEnum_ELBO(max_plate_nesting=-first - 1).sample_posterior(model, nothing)


def by_messenger(model, first):
    guide_trace = handlers.trace(nothing).get_trace()
    enum_trace = handlers.trace(handlers.enum(model, first_available_dim=first)).get_trace()

    def run():
        with BackwardSampleMessenger(enum_trace, guide_trace):
            return model()

    return run


@pytest.mark.parametrize("way", [by_infer_discrete, by_default_dims, by_sample_posterior, by_messenger])
@pytest.mark.parametrize("name", SETTINGS)
def test_joint_frequencies(name, way):
    """SEMANTICS 33, 43: 400 joint draws against every assignment; independent draws by site would be far off."""
    model, sizes, first = SETTINGS[name]
    exact = joint_of(model, sizes)
    run = way(model, first)
    count = 400
    found = {}
    for values in draws_of(run, count):
        found[flat(values)] = found.get(flat(values), 0) + 1
    assert chi_square(found, exact, count) < 2.5
    by_site = {}
    for key in exact:
        probability = 1.0
        for place, value in enumerate(key):
            probability *= sum(p for other, p in exact.items() if other[place] == value)
        by_site[key] = probability
    broken = {key: round(count * probability) for key, probability in by_site.items()}
    assert chi_square(broken, exact, count) > 2.5


@pytest.mark.parametrize("name", SETTINGS)
def test_joint_maximum(name):
    """SEMANTICS 40: of the joint, not of each site."""
    model, sizes, first = SETTINGS[name]
    exact = joint_of(model, sizes)
    for found in (infer_discrete(model, first, temperature=0)(), infer_discrete(temperature=0)(model)()):
        assert flat(found) == max(exact, key=exact.get)


def test_joint_maximum_is_not_the_maximum_of_each_site():
    """SEMANTICS 40."""
    joint = torch.tensor([[0.0, 0.3, 0.3], [0.4, 0.0, 0.0]], dtype=D)

    @config_enumerate
    def model():
        a = aleator.sample("a", dist.Categorical(joint.sum(-1)))
        b = aleator.sample("b", dist.Categorical(joint[a] / joint[a].sum(-1, keepdim=True)))
        return a, b

    assert flat(infer_discrete(model, temperature=0)()) == (1, 0)
    assert joint.sum(-1).argmax() == 0


def test_ties_take_the_first_index():
    """SEMANTICS 40."""

    @config_enumerate
    def model():
        with aleator.plate("rows", 4):
            return aleator.sample("z", dist.Categorical(torch.ones(3)))

    assert infer_discrete(model, temperature=0)().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("temperature", [2, 0.5, True, None])
def test_other_temperatures(temperature):
    """SEMANTICS 40."""
    with pytest.raises(ValueError, match=r"temperature must be 0 .* or 1"):
        infer_discrete(chain, temperature=temperature)


def test_first_available_dim_has_a_default_and_is_checked():
    """SEMANTICS 42: the peer fails with a TypeError on its default."""
    assert len(infer_discrete(chain)()) == 3
    with pytest.raises(ValueError, match=r"first_available_dim .* negative"):
        infer_discrete(chain, first_available_dim=0)
    with pytest.raises(ValueError, match=r"plate 'rows' needs more than the 0"):
        infer_discrete(mixture, first_available_dim=-1)()


def test_the_decorator_keeps_its_options():
    """SEMANTICS 42: the peer drops ``strict_enumeration_warning`` here."""

    def unmarked():
        return aleator.sample("z", dist.Bernoulli(0.5))

    with pytest.warns(AleatorWarning, match="infer_discrete found no site"):
        infer_discrete(temperature=1)(unmarked)()
    infer_discrete(temperature=1, strict_enumeration_warning=False)(unmarked)()


def test_mask_counts_and_scale_does_not():
    """SEMANTICS 41."""

    def model():
        z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.4, dtype=D)))
        aleator.sample("x", dist.Normal(6.0 * z, 1.0), obs=torch.tensor(6.0, dtype=D))
        return z

    marked = config_enumerate(model)
    assert infer_discrete(marked, temperature=0)() == 1.0
    assert infer_discrete(handlers.scale(marked, scale=1e-9), temperature=0)() == 1.0

    def masked():
        z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.4, dtype=D)), infer={"enumerate": "parallel"})
        with handlers.mask(mask=False):
            aleator.sample("x", dist.Normal(6.0 * z, 1.0), obs=torch.tensor(6.0, dtype=D))
        return z

    assert infer_discrete(masked, temperature=0)() == 0.0


def test_a_mask_from_outside_does_not_hide_the_data():
    """SEMANTICS 44: a predictive that masks log-probs would leave the prior."""

    @config_enumerate
    def model():
        z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.4, dtype=D)))
        aleator.sample("x", dist.Normal(6.0 * z, 1.0), obs=torch.tensor(6.0, dtype=D))
        return z

    decoded = infer_discrete(model)
    with handlers.mask(mask=False), handlers.trace() as trace:
        assert decoded() == 1.0
    assert trace.nodes["z"].value == 1.0


def test_handlers_outside_see_one_run_and_their_values_hold():
    """SEMANTICS 41: sites that are not marked keep the values that others give them; the trace has each site once."""

    @config_enumerate
    def model():
        w = aleator.sample("w", dist.Normal(torch.tensor(0.0, dtype=D), 1.0))
        z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.5, dtype=D)))
        aleator.sample("x", dist.Normal(w * z, 0.01), obs=torch.tensor(3.0, dtype=D))
        return z

    decoded = infer_discrete(model, temperature=0)
    trace = handlers.trace(handlers.condition(decoded, data={"w": torch.tensor(3.0, dtype=D)})).get_trace()
    assert trace.nodes["z"].value == 1.0
    assert trace.nodes["w"].value == 3.0
    assert [name for name in trace.nodes if name in "wzx"] == ["w", "z", "x"]
    decoded = infer_discrete(model, temperature=0, strict_enumeration_warning=False)
    conditioned = handlers.condition(decoded, data={"w": torch.tensor(3.0, dtype=D), "z": torch.tensor(0.0, dtype=D)})
    assert handlers.trace(conditioned).get_trace().nodes["z"].value == 0.0


def test_a_fresh_draw_and_the_sites_decoded_given_it_belong_together():
    """SEMANTICS 41: the second run keeps the first one's draws."""

    @config_enumerate
    def model():
        w = aleator.sample("w", dist.Normal(torch.tensor(0.0, dtype=D), 1.0))
        z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.5, dtype=D)))
        aleator.sample("x", dist.Normal(w * (2.0 * z - 1.0), 0.001), obs=w.abs().detach())
        return w, z

    for w, z in draws_of(infer_discrete(model), 10):
        assert z == (w > 0)


def test_sequential_marks_are_refused_not_ignored():
    """The peer samples such a site from its prior and says nothing."""

    def model():
        aleator.sample("z", dist.Bernoulli(0.5), infer={"enumerate": "sequential"})

    with pytest.raises(UnsupportedModelError, match="site 'z' asks for sequential enumeration"):
        infer_discrete(model)()


def test_samples_are_apart_in_plates_and_shared_for_globals():
    """SEMANTICS 43."""
    with aleator.rng(0):
        z, y = infer_discrete(mixture)()
    assert z.shape == ()
    assert y.shape == (3,)


@pytest.mark.parametrize(
    ("law", "family"),
    [
        (dist.Bernoulli(torch.tensor(0.3, dtype=D)), dist.Bernoulli),
        (dist.Categorical(torch.tensor([0.2, 0.5, 0.3], dtype=D)), dist.Categorical),
        (dist.OneHotCategorical(torch.tensor([0.2, 0.5, 0.3], dtype=D)), dist.OneHotCategorical),
        (dist.Binomial(3, torch.tensor(0.3, dtype=D)), dist.Categorical),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_marginals_of_every_family(law, family):
    """SEMANTICS 32: the peer returns a Binomial without its count; here a Categorical over the support."""

    @config_enumerate
    def model():
        z = aleator.sample("z", law)
        weights = torch.arange(1.0, 1.0 + (z.shape[-1] if law.event_shape else 1), dtype=D)
        at = (z * weights).sum(-1) if law.event_shape else z.to(D)
        aleator.sample("x", dist.Normal(at, 1.0), obs=torch.tensor(1.3, dtype=D))

    support = law.enumerate_support()
    at = (support * torch.arange(1.0, 4.0, dtype=D)).sum(-1) if law.event_shape else support.to(D)
    exact = (law.log_prob(support) + dist.Normal(at, 1.0).log_prob(torch.tensor(1.3, dtype=D))).softmax(0)
    found = TraceEnum_ELBO(max_plate_nesting=0).compute_marginals(model, nothing)["z"]
    assert isinstance(found, family)
    probs = torch.stack([1 - found.probs, found.probs]) if family is dist.Bernoulli else found.probs
    torch.testing.assert_close(probs, exact, rtol=0, atol=1e-12)


def test_marginals_are_those_of_the_joint():
    """SEMANTICS 32."""
    for model, sizes, first in SETTINGS.values():
        every, probabilities, _ = posterior(model, sizes)
        found = TraceEnum_ELBO(max_plate_nesting=-first - 1).compute_marginals(model, nothing)
        for name, size in sizes.items():
            values = torch.stack([each[name] for each in every])
            for value in range(size):
                shape = (-1,) + (1,) * (values.dim() - 1)
                exact = ((values == value) * probabilities.reshape(shape)).sum(0)
                log_prob = found[name].log_prob(torch.tensor(float(value), dtype=D))
                torch.testing.assert_close(log_prob.exp().expand(exact.shape), exact, rtol=0, atol=1e-12)


def test_marginals_and_posterior_draws_want_a_guide_that_is_drawn():
    """SEMANTICS 32."""

    def guide():
        aleator.sample("z", dist.Bernoulli(torch.tensor(0.4, dtype=D)), infer={"enumerate": "parallel"})

    estimator = TraceEnum_ELBO(max_plate_nesting=1)
    for method in (estimator.compute_marginals, estimator.sample_posterior):
        with pytest.raises(ValueError, match="the guide enumerates 'z'"):
            method(mixture, guide)
    with pytest.raises(ValueError, match="num_particles is 2"):
        TraceEnum_ELBO(num_particles=2).compute_marginals(mixture, nothing)


def test_sample_posterior_returns_what_the_model_returns():
    """SEMANTICS 33: on values without enumerated dims."""
    z, y = TraceEnum_ELBO(max_plate_nesting=1).sample_posterior(mixture, nothing)
    assert z.shape == ()
    assert y.shape == (3,)


def test_sample_posterior_visits_each_site_a_few_times():
    """Linear in the number of sites, not one pass for each."""
    calls = []

    class Counted(torch.distributions.Categorical):
        def log_prob(self, value):
            calls.append(1)
            return super().log_prob(value)

    counts = []
    for length in (5, 10, 20):

        @config_enumerate
        def model(length=length):
            x = torch.zeros(()).long()
            for t in aleator.markov(range(length)):
                x = aleator.sample(f"x_{t}", Counted(STEP[x], validate_args=False))

        calls.clear()
        TraceEnum_ELBO(max_plate_nesting=0).sample_posterior(model, nothing)
        counts.append(len(calls))
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0])


def test_impossible_data_leave_no_nan():
    @config_enumerate
    def model():
        z = aleator.sample("z", dist.Categorical(torch.tensor([1.0, 0.0, 1.0])))
        aleator.sample("x", dist.Bernoulli(torch.tensor([0.0, 0.5, 1.0])[z]), obs=torch.tensor(1.0))
        return z

    assert infer_discrete(model, temperature=0)() == 2
    assert math.isfinite(TraceEnum_ELBO(max_plate_nesting=0).loss(model, nothing))
    assert draws_of(infer_discrete(model), 5) == [2] * 5
