"""`sample`, `deterministic`, `factor`, `param` and `module`."""

import pytest
import torch
from torch import nn
from torch.distributions import constraints

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import AleatorWarning, ParameterError, SupportError
from aleator.runtime import RUN, STACK
from aleator.scoring import is_deterministic


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as store:
        yield store


# ---- sample ----


def test_the_name_comes_first():
    with pytest.raises(TypeError, match="sample expects the site's name first, as a str, but found Normal"):
        aleator.sample(dist.Normal(0.0, 1.0), "x")


def test_plain_torch_distributions_work_too():
    with handlers.trace() as trace, aleator.plate("data", 3):
        x = aleator.sample("x", torch.distributions.Normal(torch.tensor(0.0, requires_grad=True), 1.0))
        aleator.sample("y", torch.distributions.Categorical(torch.ones(4)))
    assert x.shape == (3,)
    assert x.requires_grad
    assert trace.nodes["y"].value.shape == (3,)


@pytest.mark.parametrize(
    ("obs", "fn", "dtype"),
    [
        (2.0, dist.Normal(0.0, 1.0), torch.float32),
        (2, dist.Normal(0.0, 1.0), torch.float32),
        (2, dist.Categorical(torch.ones(4)), torch.int64),
        (1, dist.Bernoulli(0.5), torch.int64),
        (3, dist.Poisson(2.0), torch.int64),
    ],
)
def test_numbers_as_data(obs, fn, dtype):
    with handlers.trace() as trace:
        value = aleator.sample("x", fn, obs=obs)
    assert value.dtype == dtype
    torch.testing.assert_close(trace.log_prob_sum(), fn.log_prob(torch.tensor(float(obs))))


def test_a_sample_shape_for_the_draw():
    assert aleator.sample("x", dist.Normal(0.0, 1.0), (5,)).shape == (5,)
    assert aleator.sample("x", dist.Normal(0.0, 1.0), sample_shape=(2,)).shape == (2,)


def test_any_callable_draws():
    assert aleator.sample("x", lambda: "drawn") == "drawn"
    assert aleator.sample("x", lambda a, b: a + b, 1, b=2) == 3


def test_what_is_neither_distribution_nor_function():
    with pytest.raises(TypeError, match=r"sample expects a distribution .*but found Tensor; .*aleator\.deterministic"):
        aleator.sample("x", torch.tensor(1.0))
    assert STACK.get() == ()


def test_options_are_copied():
    own = {"is_auxiliary": True}
    with handlers.trace() as trace:
        aleator.sample("x", dist.Normal(0.0, 1.0), infer=own)
    trace.nodes["x"].infer["obs"] = 1
    assert own == {"is_auxiliary": True}


def test_a_misspelt_option_warns_once():
    """DESIGN 3: with the nearest known key."""
    with pytest.warns(
        AleatorWarning, match=r"site 'x' has the infer key 'is_auxillary'.*did you mean 'is_auxiliary'\?"
    ):
        aleator.sample("x", dist.Normal(0.0, 1.0), infer={"is_auxillary": True})
    aleator.sample("x", dist.Normal(0.0, 1.0), infer={"is_auxillary": True})  # warnings are errors here


# ---- partly observed ----


def partly_observed(mask, obs, fn=None):
    with handlers.trace() as trace:
        value = aleator.sample("x", fn if fn is not None else dist.Normal(torch.zeros(3), 1.0), obs=obs, obs_mask=mask)
    return value, trace


def test_obs_mask_observes_some_elements_and_draws_the_others():
    """DESIGN 3: the sites are `x_observed`, `x_unobserved` and a deterministic `x`."""
    data, mask = torch.tensor([5.0, 6.0, 7.0]), torch.tensor([True, False, True])
    value, trace = partly_observed(mask, data)
    assert [name for name in trace.nodes if not name.startswith("_")] == ["x_observed", "x_unobserved", "x"]
    assert trace.nodes["x_observed"].is_observed
    assert not trace.nodes["x_unobserved"].is_observed
    assert is_deterministic(trace.nodes["x"])
    drawn = trace.nodes["x_unobserved"].value
    assert value.tolist() == [5.0, drawn[1].item(), 7.0]
    normal = dist.Normal(0.0, 1.0)
    expected = normal.log_prob(data[0]) + normal.log_prob(drawn[1]) + normal.log_prob(data[2])
    torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_missing_data_may_be_nan():
    data, mask = torch.tensor([5.0, float("nan"), 7.0]), torch.tensor([True, False, True])
    value, trace = partly_observed(mask, data)
    assert not value.isnan().any()
    assert not trace.log_prob_sum().isnan()


def test_obs_mask_over_the_batch_of_vectors():
    fn = dist.MultivariateNormal(torch.zeros(2), torch.eye(2)).expand([3])
    mask = torch.tensor([True, False, True])
    value, trace = partly_observed(mask, torch.ones(3, 2), fn)
    assert value[0].tolist() == [1.0, 1.0]
    assert value[1].tolist() == trace.nodes["x_unobserved"].value[1].tolist()
    expected = fn.log_prob(value).sum()
    torch.testing.assert_close(trace.log_prob_sum(), expected)


@pytest.mark.parametrize("flag", [True, False])
def test_obs_mask_as_one_flag(flag):
    value, _ = partly_observed(flag, torch.ones(3))
    assert bool((value == 1.0).all()) is flag


def test_obs_mask_in_a_plate():
    with handlers.trace() as trace, aleator.plate("data", 3):
        value = aleator.sample(
            "x", dist.Normal(0.0, 1.0), obs=torch.ones(3), obs_mask=torch.tensor([True, False, True])
        )
    assert value.shape == (3,)
    assert trace.nodes["x_unobserved"].value.shape == (3,)


def test_obs_mask_without_data():
    value, trace = partly_observed(torch.zeros(3, dtype=torch.bool), None)
    assert torch.equal(value, trace.nodes["x_unobserved"].value)
    with pytest.raises(ValueError, match="site 'x': obs_mask says that elements are observed, but obs is None"):
        partly_observed(torch.tensor([True, False, True]), None)


def test_obs_mask_is_boolean():
    with pytest.raises(ValueError, match=r"site 'x': obs_mask must be bool, but has dtype torch.float32; write .*bool"):
        partly_observed(torch.ones(3), torch.ones(3))


def test_what_is_observed_must_lie_in_the_support():
    data, mask = torch.tensor([1.0, -1.0]), torch.tensor([True, False])
    partly_observed(mask, data, dist.Gamma(torch.ones(2), 1.0))
    with pytest.raises(SupportError, match="site 'x_observed'"):
        partly_observed(~mask, data, dist.Gamma(torch.ones(2), 1.0))


# ---- deterministic and factor ----


def test_deterministic_records_with_zero_log_probability():
    """SEMANTICS 72: `Delta(...).mask(False)`, observed, log_prob 0; also of values that cannot be scored."""
    with handlers.trace() as trace:
        value = aleator.deterministic("d", torch.tensor([float("nan"), 1.0]))
        aleator.deterministic("number", 3.0)
    assert trace.nodes["d"].value is value
    assert trace.nodes["d"].is_observed
    assert trace.log_prob_sum() == 0.0
    assert trace.nodes["d"].fn.event_shape == (2,)


def test_deterministic_in_a_plate_has_event_dims():
    with handlers.trace() as trace, aleator.plate("data", 3):
        aleator.deterministic("d", torch.zeros(3, 2), event_dim=1)
    assert trace.nodes["d"].fn.batch_shape == (3,)
    assert trace.nodes["d"].fn.event_shape == (2,)


def test_factor_adds_a_term():
    with handlers.trace() as trace, handlers.scale(scale=2.0):
        assert aleator.factor("f", torch.tensor(-1.5)) is None
        aleator.factor("number", 0.25)
    assert trace.log_prob_sum() == -2.5
    assert trace.nodes["f"].infer == {"is_auxiliary": True}


def test_factor_in_a_plate_is_scaled_with_it():
    with handlers.trace() as trace, aleator.plate("data", 10, subsample_size=2):
        aleator.factor("f", torch.tensor([1.0, 2.0]))
    assert trace.log_prob_sum() == 15.0


def test_a_factor_says_whether_it_is_pathwise():
    """SEMANTICS 9."""
    with handlers.trace() as trace:
        aleator.factor("f", torch.tensor(1.0), has_rsample=True)
        aleator.factor("g", torch.tensor(1.0), has_rsample=False)
    assert trace.nodes["f"].fn.has_rsample
    assert not trace.nodes["g"].fn.has_rsample


# ---- param ----


def test_a_parameter_is_made_once_and_read_back_constrained(store):
    first = aleator.param("scale", torch.tensor(2.0), constraint=constraints.positive)
    torch.testing.assert_close(first.detach(), torch.tensor(2.0))
    assert aleator.param("scale").detach() == first.detach()
    assert store.unconstrained("scale").requires_grad


def test_a_parameter_that_nobody_made():
    with pytest.raises(ParameterError, match="'scale'"):
        aleator.param("scale")


def test_handlers_see_parameters():
    class Double(handlers.Messenger):
        def postprocess_param(self, site):
            site.value = site.value * 2

    with Double():
        assert aleator.param("a", torch.tensor(1.5)) == 3.0


# ---- module ----


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Linear(3, 1)
        self.last.bias.requires_grad_(False)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


NAMES = {"net$$$first.weight", "net$$$first.bias", "net$$$norm.weight", "net$$$norm.bias", "net$$$last.weight"}


def test_a_modules_parameters_are_the_stores(store):
    """SEMANTICS 63: names `name$$$param`, identity kept; parameters that need no gradient are left alone."""
    net = Net()
    own = dict(net.named_parameters())
    with handlers.trace() as trace:
        assert aleator.module("net", net) is net
    assert set(trace.param_nodes) == NAMES == set(store.keys())
    for name in NAMES:
        assert store.unconstrained(name) is own[name.removeprefix("net$$$")]
    for name, parameter in net.named_parameters():
        assert parameter is own[name]


def test_a_modules_buffers_join_the_stores(store):
    """SEMANTICS 63, DESIGN 3."""
    net = Net()
    aleator.module("net", net)(torch.randn(8, 2))
    assert store.buffers["net$$$norm.running_mean"] is net.norm.running_mean
    assert store.buffers["net$$$norm.num_batches_tracked"] == 1


def test_a_stored_value_is_copied_into_the_module(store):
    """SEMANTICS 63 (unlike Pyro): users call the module that they hold; a loaded store changes it."""
    first = Net()
    aleator.module("net", first)
    with torch.no_grad():
        first.first.weight.fill_(7.0)
        first.norm.running_mean.fill_(3.0)
    second = Net()
    weight = second.first.weight
    aleator.module("net", second)
    assert second.first.weight is weight
    assert (weight == 7.0).all()
    assert (second.norm.running_mean == 3.0).all()
    assert store.unconstrained("net$$$first.weight") is weight


def test_bound_tensors_stand_in_until_the_run_ends(store):
    """SEMANTICS 63, DESIGN 3."""
    net = Net().eval()
    aleator.module("net", net)
    own = dict(net.named_parameters()) | dict(net.named_buffers())
    given = {name: torch.zeros_like(store.unconstrained(name)) for name in NAMES}
    buffers = {"net$$$norm.running_mean": torch.full((3,), 2.0)}
    buffers |= {n: b for n, b in store.buffers.items() if n not in buffers}
    with store.bind(given, buffers):
        with handlers.trace():
            aleator.module("net", net)
            assert net.first.weight is given["net$$$first.weight"]
            assert net.norm.running_mean is buffers["net$$$norm.running_mean"]
            net(torch.ones(1, 2))
        assert net.first.weight is own["first.weight"]
    for name, tensor in (dict(net.named_parameters()) | dict(net.named_buffers())).items():
        assert tensor is own[name]


def test_the_module_has_its_own_back_when_the_model_raises(store):
    """SEMANTICS 63, 76; DESIGN 3."""
    net = Net()
    aleator.module("net", net)
    own = dict(net.named_parameters())
    given = {name: torch.zeros_like(store.unconstrained(name)) for name in NAMES}

    def model():
        aleator.module("net", net)
        assert net.first.weight is given["net$$$first.weight"]
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), store.bind(given, dict(store.buffers)):
        handlers.trace(model).get_trace()
    assert all(parameter is own[name] for name, parameter in net.named_parameters())
    assert RUN.get() is None


def test_a_stand_in_needs_a_run(store):
    net = nn.Linear(1, 1, bias=False)
    aleator.module("net", net)
    with store.bind({"net$$$weight": torch.zeros(1, 1)}), pytest.raises(RuntimeError, match="only inside a run"):
        aleator.module("net", net)


def test_shared_parameters_are_registered_once(store):
    net = nn.ModuleDict({"a": nn.Linear(2, 2)})
    net["b"] = net["a"]
    aleator.module("net", net)
    assert set(store.keys()) == {"net$$$a.weight", "net$$$a.bias"}


def test_names_and_order_are_those_of_torch_whatever_is_shared(store):
    """Would fail if a shared layer got the name of its last place, or siblings came in reverse."""
    shared = torch.nn.BatchNorm1d(2)
    inner = torch.nn.Sequential(torch.nn.Linear(2, 2), shared, torch.nn.Sequential(torch.nn.Linear(2, 2)))
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), inner, shared, torch.nn.ReLU(), inner)
    net.register_module("absent", None)
    net.register_parameter("nothing", None)
    aleator.module("net", net)
    assert list(store) == [f"net$$${name}" for name, _ in net.named_parameters()]
    assert list(store.buffers) == [f"net$$${name}" for name, _ in net.named_buffers()]


def test_a_parameter_tied_under_two_names_stays_tied_under_bind(store):
    """A weight that two layers share: both must see the bound tensor."""
    net = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    net["b"].weight = net["a"].weight
    own = net["a"].weight
    aleator.module("net", net)
    assert set(store.keys()) == {"net$$$a.weight"}
    given = {"net$$$a.weight": torch.zeros(2, 2)}
    with store.bind(given), handlers.trace():
        aleator.module("net", net)
        assert net["a"].weight is given["net$$$a.weight"]
        assert net["b"].weight is given["net$$$a.weight"]
    assert net["a"].weight is net["b"].weight is own
