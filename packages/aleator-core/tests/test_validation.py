"""Checks of values: one host read per run, and an error that names its culprit."""

import gc
import weakref

import pytest
import torch
from torch.distributions import constraints
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import aleator
import aleator.distributions as dist
from aleator import handlers, validation
from aleator.errors import ParameterError, SupportError
from aleator.runtime import Run
from aleator.validation import PENDING, PendingChecks, check_arguments, check_support


class HostReads(TorchDispatchMode):
    """Counts how often a number is read back from the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def chain(length=20, bad=None):
    """A program with a check or two at each site."""
    z = torch.tensor(0.0)
    for t in range(length):
        scale = torch.tensor(-1.0 if t == bad else 1.0)
        z = aleator.sample(f"z_{t}", dist.Normal(z, scale))
        aleator.sample(f"x_{t}", dist.Gamma(torch.tensor(2.0), scale.abs()), obs=torch.tensor(1.0 + t))


# ---- how often the device is asked ----


def test_one_host_read_per_run():
    """DESIGN 2, 7: not one per site."""
    with HostReads() as reads, handlers.trace():
        chain()
    assert reads.count == 1


def test_a_run_around_several_programs_reads_once():
    """An estimator opens one run around guide and model."""
    with HostReads() as reads, Run():
        for _ in range(3):
            handlers.trace(chain).get_trace()
    assert reads.count == 1


def test_no_read_where_there_is_nothing_to_check():
    with HostReads() as reads, handlers.trace():
        aleator.sample("x", dist.Normal(0.0, 1.0))
    assert reads.count == 0


def test_no_read_and_no_note_with_validation_switched_off():
    with aleator.validation_enabled(False), HostReads() as reads, handlers.trace():
        chain(bad=3)
        assert PENDING.get().notes == []
    assert reads.count == 0


def test_a_run_that_keeps_nothing_checks_nothing():
    """A captured step."""
    with HostReads() as reads, Run(checks=PendingChecks(keep=False)), handlers.trace():
        chain(bad=3)
        assert PENDING.get().notes == []
        assert PENDING.get().owners == []
    assert reads.count == 0


def test_the_owner_of_the_notes_evaluates_them():
    """Who hands in its own notes (a step) reads the flag itself, with the loss."""
    checks = PendingChecks()
    with Run(checks=checks):
        handlers.trace(chain).get_trace(bad=3)
    assert bool(checks.violated())
    with pytest.raises(ParameterError, match="site 'z_3'"):
        checks.raise_culprit()


@pytest.mark.parametrize("event_dim", [0, 1])
def test_data_that_held_are_not_checked_again(event_dim):
    """A cache: the same tensor in every step of a full-batch run; a changed tensor is checked anew."""
    data = torch.tensor([1.0, 2.0])

    def model():
        aleator.sample("x", dist.Gamma(1.0, 1.0).expand([2]).to_event(event_dim), obs=data)
        return len(PENDING.get().notes)

    assert handlers.trace(model)() == 1
    assert handlers.trace(model)() == 0
    data[0] = -1.0
    with pytest.raises(SupportError, match="site 'x'"):
        handlers.trace(model)()


def test_what_is_remembered_holds_for_that_support_only():
    data = torch.tensor(2.0)
    handlers.trace(lambda: aleator.sample("x", dist.Gamma(1.0, 1.0), obs=data))()
    with pytest.raises(SupportError, match="site 'x'"):
        handlers.trace(lambda: aleator.sample("x", dist.Beta(1.0, 1.0), obs=data))()


def test_what_is_remembered_keeps_no_tensor_alive():
    data = torch.tensor([1.0, 2.0])
    alive = weakref.ref(data)
    handlers.trace(lambda data: aleator.sample("x", dist.Gamma(1.0, 1.0).expand([2]), obs=data))(data)
    del data
    gc.collect()
    assert alive() is None


def test_inference_tensors_are_checked_each_time():
    with torch.inference_mode():
        data = torch.tensor(1.0)
        for _ in range(2):
            handlers.trace(lambda: aleator.sample("x", dist.Gamma(1.0, 1.0), obs=data))()
            data.neg_()
            with pytest.raises(SupportError):
                handlers.trace(lambda: aleator.sample("x", dist.Gamma(1.0, 1.0), obs=data))()
            data.neg_()


# ---- what the errors say ----


def test_the_error_names_site_argument_constraint_value_and_shape():
    """Issue 3: a NaN or misfit parameter, with its site named, though the check is read at the end."""
    with pytest.raises(ParameterError) as caught:
        handlers.trace(chain).get_trace(bad=3)
    text = str(caught.value)
    for part in (
        "site 'z_3'",
        "Normal expects 'scale'",
        "GreaterThan(lower_bound=0.0)",
        "[-1.0]",
        "shape ()",
        "constrain",
    ):
        assert part in text


def test_outside_a_run_the_constructor_raises_at_once():
    with pytest.raises(
        ParameterError, match=r"^Normal expects 'scale' in GreaterThan\(lower_bound=0.0\), but found \[-1.0\]"
    ):
        dist.Normal(0.0, torch.tensor(-1.0))
    with pytest.raises(ParameterError, match="Normal expects 'scale'"):
        dist.Normal(0.0, -1.0)


def test_a_number_raises_at_once_inside_a_run_too():
    """No device is asked for a Python number."""
    with handlers.trace(), pytest.raises(ParameterError, match="Normal expects 'scale'"):
        dist.Normal(0.0, -1.0)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda fn: fn,
        lambda fn: fn.to_event(1),
        lambda fn: fn.mask(torch.tensor([True, True])),
        lambda fn: fn.expand([3, 2]),
        lambda fn: fn.expand([3, 2]).to_event(1).mask(True),
    ],
)
def test_the_site_is_found_through_wrappers(wrap):
    def model():
        aleator.sample("fine", dist.Normal(torch.zeros(2), 1.0))
        aleator.sample("bad", wrap(dist.Normal(torch.zeros(2), torch.tensor([1.0, float("nan")]))))

    with pytest.raises(ParameterError, match=r"site 'bad': Normal expects 'scale' .*\[nan\]"):
        handlers.trace(model).get_trace()


def test_the_site_is_found_through_plates():
    """The plate expands the distribution after it was made."""
    with pytest.raises(ParameterError, match="site 'bad'"), aleator.plate("data", 4):
        aleator.sample("bad", dist.Normal(torch.tensor(float("nan")), 1.0))


def test_nan_in_a_parameter():
    with aleator.ParamStore() as store:
        store["loc"] = torch.tensor(0.0)
        with torch.no_grad():
            store.unconstrained("loc").fill_(float("nan"))
        with pytest.raises(ParameterError, match=r"site 'x': Normal expects 'loc' in Real\(\), but found \[nan\]"):
            handlers.trace(lambda: aleator.sample("x", dist.Normal(aleator.param("loc"), 1.0)))()


def test_an_observed_value_outside_the_support():
    with pytest.raises(SupportError, match=r"site 'x': the value must lie in the support .*\[-3.0\]"), handlers.trace():
        aleator.sample("x", dist.Poisson(2.0), obs=torch.tensor([1.0, -3.0]))


def test_events_are_checked_as_a_whole():
    with pytest.raises(SupportError, match=r"site 'x'.*Simplex\(\).*\[0.5, 0.75\].*shape \(2, 2\)"), handlers.trace():
        aleator.sample("x", dist.Dirichlet(torch.ones(2)), obs=torch.tensor([[0.5, 0.5], [0.5, 0.75]]))


def test_bounds_that_are_wider_than_the_value():
    fn = dist.Uniform(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(SupportError, match=r"site 'x'.*\[1.5\]"), handlers.trace():
        aleator.sample("x", fn, obs=torch.tensor(1.5))


def test_one_value_under_a_mask_and_without():
    """The same tensor twice: that a mask forgives it at one site says nothing about the other."""
    data = torch.tensor([1.0, -1.0])

    def model():
        with handlers.mask(mask=torch.tensor([True, False])):
            aleator.sample("masked", dist.Gamma(torch.ones(2), 1.0), obs=data)
        aleator.sample("plain", dist.Gamma(torch.ones(2), 1.0), obs=data)

    with pytest.raises(SupportError, match="site 'plain'"):
        handlers.trace(model)()


# ---- the joined check is the check of each ----


@pytest.mark.parametrize("bad", [None, 0, 7, 19])
def test_joined_and_separate_verdicts_agree(bad):
    checks = PendingChecks()
    with Run(checks=checks):
        handlers.trace(chain).get_trace(bad=bad)
    separate = not all(bool(note.holds().all()) for note in checks.notes)
    assert bool(checks.violated()) is separate is (bad is not None)


def test_several_constraints_dtypes_and_shapes_are_joined():
    checks = PendingChecks()
    values = [torch.ones(2, 3), torch.ones((), dtype=torch.float64), torch.ones(4, dtype=torch.int64)]
    with Run(checks=checks):
        for number, value in enumerate(values):
            check_support(f"x{number}", constraints.positive, value)
            check_support(f"y{number}", constraints.simplex, torch.full((2,), 0.5))
            check_support(f"z{number}", constraints.real, value)
    assert not bool(checks.violated())
    with Run(checks=checks):
        check_support("bad", constraints.positive, torch.tensor([1, 0]))
    with pytest.raises(SupportError, match="site 'bad'"):
        checks.raise_if_violated()


def test_what_only_asks_for_not_nan_can_be_left_out():
    """A step reads the loss anyway: it is NaN where a real argument is."""
    checks = PendingChecks()
    with Run(checks=checks):
        check_support("x", constraints.real, torch.tensor(float("nan")))
    assert bool(checks.violated())
    assert checks.violated(finite_is_known=True) is None


def test_nothing_to_check():
    assert PendingChecks().violated() is None
    PendingChecks().raise_if_violated()


# ---- where numbers cannot be read ----


def test_nothing_is_read_while_a_graph_is_recorded():
    def model(loc):
        with handlers.trace() as trace:
            aleator.sample("x", dist.Normal(loc, loc.exp()), obs=torch.tensor(1.0))
        return trace.log_prob_sum()

    graph = make_fx(model)(torch.tensor(0.0))
    torch.testing.assert_close(graph(torch.tensor(0.5)), model(torch.tensor(0.5)))


def test_nothing_is_read_under_vmap():
    def draw(scale):
        with handlers.trace():
            return aleator.sample("x", dist.Normal(0.0, scale))

    assert torch.func.vmap(draw, randomness="different")(torch.ones(3)).shape == (3,)
    check_arguments(object(), ())


def test_the_flag_of_one_distribution_wins():
    """An explicit `validate_args` counts more than the context's setting."""
    dist.Normal(0.0, torch.tensor(-1.0), validate_args=False)
    with aleator.validation_enabled(False), pytest.raises(ParameterError):
        dist.Normal(0.0, torch.tensor(-1.0), validate_args=True)
    assert validation.is_enabled()
    assert not validation.is_enabled(False)


def test_notes_that_were_folded_still_count_and_are_known_by_name():
    """A part of a run that is over is freed; its one flag and its names stay."""
    checks = PendingChecks()
    with HostReads() as reads, Run(checks=checks):
        handlers.trace(chain).get_trace(bad=3)
        checks.fold()
        assert checks.notes == []
        assert checks.owners == []
        assert len(checks) == 1
        handlers.trace(lambda: aleator.sample("fine", dist.Gamma(1.0, torch.tensor(1.0))))()
    assert reads.count == 0
    assert bool(checks.violated())
    with pytest.raises(ParameterError, match="z_3"):
        checks.raise_culprit()
