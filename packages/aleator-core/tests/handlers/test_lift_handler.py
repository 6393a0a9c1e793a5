"""`lift` and `substitute`: what handlers make of parameters. The core alone has them."""

import pytest
import torch
from torch import nn
from torch.distributions import constraints

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import AleatorWarning, ParameterError, UnsupportedModelError


def reads_twice():
    first = aleator.param("s", torch.tensor(0.5))
    second = aleator.param("s", torch.tensor(0.5))
    aleator.sample("z", dist.Normal(first, 1.0))
    return first, second


def test_a_parameter_becomes_a_sample_site():
    """SEMANTICS 71: a distribution prior traces as `sample`; the store is not touched."""
    trace = handlers.trace(handlers.lift(reads_twice, prior={"s": dist.Normal(3.0, 0.1)})).get_trace()
    assert trace.nodes["s"].type == "sample"
    assert not trace.nodes["s"].is_observed
    assert trace.param_nodes == []
    assert "s" not in aleator.get_param_store()


def test_a_second_read_hands_out_the_first_draw_and_counts_once():
    """SEMANTICS 71."""
    for program in (
        handlers.trace(handlers.lift(reads_twice, prior={"s": dist.Normal(3.0, 0.1)})),
        handlers.lift(handlers.trace(reads_twice), prior={"s": dist.Normal(3.0, 0.1)}),
    ):
        tracer = program if hasattr(program, "get_trace") else program.fn
        first, second = program()
        trace = tracer.trace
        assert first is second
        assert trace.stochastic_nodes == ["s", "z"]
        s, z = first, trace.nodes["z"].value
        expected = dist.Normal(3.0, 0.1).log_prob(s) + dist.Normal(s, 1.0).log_prob(z)
        torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_an_inner_record_that_has_only_the_second_read_keeps_it():
    def model():
        aleator.param("s", torch.tensor(0.5))
        with handlers.trace() as inner:
            aleator.param("s", torch.tensor(0.5))
        return inner

    inner = handlers.lift(model, prior={"s": dist.Normal(3.0, 0.1)})()
    assert inner.stochastic_nodes == ["s"]


def test_handlers_further_out_see_the_draw_once():
    """SEMANTICS 71: not counted twice, by whatever counts."""
    seen = []

    class Count(handlers.Messenger):
        def process_sample(self, site):
            seen.append(site.name)

    with Count():
        handlers.lift(reads_twice, prior={"s": dist.Normal(3.0, 0.1)})()
    assert seen == ["s", "z"]


def test_each_entry_draws_anew():
    lifted = handlers.lift(reads_twice, prior={"s": dist.Normal(0.0, 1.0)})
    assert lifted()[0] != lifted()[0]


def test_handlers_further_out_set_and_observe_the_draw():
    lifted = handlers.lift(reads_twice, prior={"s": dist.Normal(3.0, 0.1)})
    first, second = handlers.condition(lifted, data={"s": torch.tensor(7.0)})()
    assert first == second == 7.0
    earlier = handlers.trace(lifted).get_trace()
    assert handlers.replay(lifted, trace=earlier)()[1] is earlier.nodes["s"].value


def test_one_prior_for_all():
    def model():
        aleator.param("a", torch.tensor(0.0))
        aleator.param("b", torch.tensor(0.0))

    assert handlers.trace(handlers.lift(model, prior=dist.Normal(0.0, 1.0))).get_trace().stochastic_nodes == ["a", "b"]


def test_a_plain_torch_prior():
    lifted = handlers.lift(reads_twice, prior={"s": torch.distributions.Normal(3.0, 0.1)})
    assert handlers.trace(lifted).get_trace().stochastic_nodes == ["s", "z"]


def test_a_prior_in_the_place_of_the_function():
    with handlers.trace() as trace, handlers.lift({"s": dist.Normal(3.0, 0.1)}):
        reads_twice()
    assert "s" in trace.stochastic_nodes
    with pytest.raises(TypeError, match="lift expects a distribution, a function or a mapping, but found float"):
        handlers.lift(prior=3.0)


def test_a_function_as_prior_hides_the_parameter():
    """SEMANTICS 71: a callable prior sets `stop`; the sites that it makes are seen."""

    def prior(init, constraint=None, event_dim=None):
        return init + aleator.sample("inside", dist.Normal(0.0, 1.0))

    with handlers.trace() as trace, handlers.lift(prior=prior):
        value = aleator.param("s", torch.tensor(0.5), constraint=constraints.positive)
    assert list(trace.nodes) == ["inside"]
    assert value == 0.5 + trace.nodes["inside"].value


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.raise_inside = False

    def forward(self, x):
        if self.raise_inside:
            raise KeyError("inside")
        return self.layer(x)


def test_modules_answer_to_the_part_after_the_dollars():
    """SEMANTICS 71: dict keys match the part after `$$$`."""
    net = Net()
    own = dict(net.named_parameters())
    priors = {
        "layer.weight": dist.Normal(torch.zeros(1, 2), 1.0).to_event(2),
        "net$$$layer.bias": dist.Delta(torch.ones(1)),
    }

    def model(x):
        return aleator.module("net", net)(x)

    trace = handlers.trace(handlers.lift(model, prior=priors)).get_trace(torch.ones(2))
    assert trace.stochastic_nodes == ["net$$$layer.weight", "net$$$layer.bias"]
    weight = trace.nodes["net$$$layer.weight"].value
    torch.testing.assert_close(trace.nodes["_RETURN"].value, weight.sum().reshape(1) + 1.0)
    assert dict(net.named_parameters()) == own  # the module has its own parameters back
    assert net.layer.weight is own["layer.weight"]


def test_a_module_has_its_parameters_back_when_the_model_raises():
    net = Net()
    own, net.raise_inside = net.layer.weight, True
    prior = {"layer.weight": dist.Normal(torch.zeros(1, 2), 1.0).to_event(2)}
    with pytest.raises(KeyError, match="inside"):
        handlers.lift(lambda: aleator.module("net", net)(torch.ones(2)), prior=prior)()
    assert net.layer.weight is own


def test_keys_that_match_nothing_warn():
    """SEMANTICS 71: unmatched keys warn on exit."""
    with pytest.warns(AleatorWarning, match="lift: no site 'scale' in this run.*did you mean 'scales'"):
        handlers.lift(lambda: aleator.param("scales", torch.tensor(1.0)), prior={"scale": dist.Normal(0.0, 1.0)})()


@pytest.mark.parametrize(
    ("constraint", "prior"),
    [
        (constraints.positive, dist.Normal(0.0, 1.0)),
        (constraints.unit_interval, dist.Gamma(1.0, 1.0)),
        (constraints.interval(0.0, 1.0), dist.Uniform(-1.0, 1.0)),
        (constraints.greater_than(1.0), dist.LogNormal(0.0, 1.0)),
        (constraints.unit_interval, dist.Normal(torch.zeros(2), 1.0).to_event(1)),
    ],
)
def test_a_prior_wider_than_the_constraint_is_refused(constraint, prior):
    """SEMANTICS 71 (unlike Pyro): prior support against constraint."""
    init = torch.full(prior.event_shape, 0.5) if constraint is not constraints.greater_than(1.0) else torch.tensor(2.0)

    def model():
        return aleator.param("s", init, constraint=constraint)

    drawn = handlers.lift(model, prior={"s": prior})

    def draw_often():
        for _ in range(200):  # bounds that are tensors are only seen in what is drawn
            drawn()

    with pytest.raises((UnsupportedModelError, ParameterError), match="'s'"):
        draw_often()
    assert "s" not in aleator.get_param_store()
    with aleator.validation_enabled(False):
        drawn()


@pytest.mark.parametrize(
    ("constraint", "prior"),
    [
        (constraints.positive, dist.Gamma(1.0, 1.0)),
        (constraints.positive, dist.Exponential(1.0)),
        (constraints.real, dist.Normal(0.0, 1.0)),
        (constraints.unit_interval, dist.Beta(1.0, 1.0)),
        (constraints.simplex, dist.Dirichlet(torch.ones(3))),
        (constraints.unit_interval, dist.Uniform(0.25, 0.75)),
        (constraints.real, dist.MultivariateNormal(torch.zeros(2), torch.eye(2))),
        (constraints.nonnegative, dist.LogNormal(0.0, 1.0)),
    ],
)
def test_a_prior_inside_the_constraint_passes(constraint, prior):
    lifted = handlers.lift(
        lambda: aleator.param("s", lambda: prior.sample(), constraint=constraint), prior={"s": prior}
    )
    for _ in range(5):
        lifted()


@pytest.mark.parametrize("allowed", [constraints.greater_than(-50.0), constraints.less_than(50.0)])
def test_what_a_prior_could_draw_counts_before_it_does(allowed):
    """Fifty standard deviations out: no draw would show it."""
    lifted = handlers.lift(
        lambda: aleator.param("s", torch.tensor(0.0), constraint=allowed), prior={"s": dist.Normal(0.0, 1.0)}
    )
    with pytest.raises(UnsupportedModelError, match="'s'"):
        lifted()


def test_the_message_on_a_prior_too_wide():
    model = handlers.lift(
        lambda: aleator.param("rate", torch.tensor(1.0), constraint=constraints.positive),
        prior={"rate": dist.Normal(0.0, 1.0)},
    )
    with pytest.raises(UnsupportedModelError) as caught:
        model()
    text = str(caught.value)
    for part in ("parameter 'rate'", "GreaterThan(lower_bound=0.0)", "Normal", "Real()", "give it a prior on that set"):
        assert part in text


def test_the_stored_constraint_counts_where_the_program_states_none():
    aleator.param("s", torch.tensor(1.0), constraint=constraints.positive)
    with pytest.raises(UnsupportedModelError, match="'s'"):
        handlers.lift(lambda: aleator.param("s"), prior={"s": dist.Normal(0.0, 1.0)})()


def test_a_lifted_parameter_in_a_plate_is_local_to_it():
    """As if the program said `sample(name, prior)` there."""
    with (
        handlers.trace() as trace,
        handlers.lift(prior=dist.Normal(0.0, 1.0)),
        aleator.plate("data", 6, subsample_size=2),
    ):
        value = aleator.param("s", torch.zeros(6), event_dim=0)
    assert value.shape == (2,)
    assert trace.nodes["s"].frames[0].scale == 3.0


# ---- substitute ----


def test_substitute_fixes_parameters():
    """SEMANTICS 75."""
    trace = handlers.trace(handlers.substitute(reads_twice, data={"s": 0.25})).get_trace()
    assert trace.nodes["_RETURN"].value == (0.25, 0.25)
    assert trace.param_nodes == ["s"]
    assert "s" not in aleator.get_param_store()


def test_substitute_warns_on_unused_keys():
    """SEMANTICS 75."""
    with pytest.warns(AleatorWarning, match="substitute: no site 't' in this run"):
        handlers.substitute(reads_twice, data={"s": 0.25, "t": 1.0})()
    with pytest.raises(TypeError, match="substitute expects values by parameter name, but found list"):
        handlers.substitute(data=[1.0])


def test_substitute_in_a_module():
    net = Net()
    own = net.layer.bias
    data = {"layer.weight": torch.zeros(1, 2), "layer.bias": torch.full((1,), 4.0)}
    assert handlers.substitute(lambda: aleator.module("net", net)(torch.ones(2)), data=data)() == 4.0
    assert net.layer.bias is own


def test_substitute_gives_a_subsampled_parameter_all_its_rows():
    with handlers.substitute(data={"s": torch.arange(4.0)}), aleator.plate("data", 4, subsample=[3, 1]):
        assert aleator.param("s", torch.zeros(4), event_dim=0).tolist() == [3.0, 1.0]
