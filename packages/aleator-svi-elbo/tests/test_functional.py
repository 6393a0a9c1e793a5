"""Functional SVI: a state in, a state out, and nothing else read or written."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.errors import ParameterError
from aleator.infer import Trace_ELBO, functional
from aleator.optim import SGD, Adam
from aleator_svi_elbo.functional import SVI, elbo

DATA = torch.tensor([1.0, 2.5, -0.5, 0.3, 1.7])


def model(data):
    loc = aleator.sample("loc", dist.Normal(0.0, 5.0))
    with aleator.plate("data", data.shape[0]):
        aleator.sample("x", dist.Normal(loc, 1.0), obs=data)


def guide():
    loc = aleator.param("loc_loc", torch.tensor(0.5))
    scale = aleator.param("loc_scale", torch.tensor(2.0), constraint=constraints.positive)
    aleator.sample("loc", dist.Normal(loc, scale))


@pytest.fixture
def svi():
    return SVI(model, guide, Trace_ELBO(), Adam(lr=0.05))


def leaves(tree):
    return torch.utils._pytree.tree_leaves(tree)


def equal(left, right):
    return len(leaves(left)) == len(leaves(right)) and all(map(torch.equal, leaves(left), leaves(right)))


def test_is_on_infer_by_name():
    assert functional.SVI is SVI


def test_state_is_a_pytree_of_tensors(svi):
    state, _ = svi.init(0, (DATA,))
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves(state))


def test_same_state_same_result_and_the_state_stays(svi):
    state, _ = svi.init(0, (DATA,))
    before = [leaf.clone() for leaf in leaves(state)]
    first = svi.update(state, (DATA,))
    torch.manual_seed(77)
    assert equal(first, svi.update(state, (DATA,)))
    assert equal(before, leaves(state))


def test_steps_draw_afresh(svi):
    """Catches randomness that does not move on: with a learning rate of zero only the draw differs."""
    still = SVI(model, guide, Trace_ELBO(), SGD(lr=0.0))
    state, _ = still.init(0, (DATA,))
    _, losses = still.run(state, 5, (DATA,))
    assert losses.unique().numel() == 5


def test_evaluate_uses_the_randomness_of_the_next_update(svi):
    """SEMANTICS 65."""
    state, _ = svi.init(3, (DATA,))
    state, _ = svi.update(state, (DATA,))
    value = svi.evaluate(state, (DATA,))
    assert torch.equal(value, svi.evaluate(state, (DATA,)))
    assert torch.equal(value, svi.update(state, (DATA,))[1])


def test_get_params_and_init_params_are_constrained(svi):
    """SEMANTICS 65."""
    state, get_params = svi.init(0, (DATA,), init_params={"loc_scale": torch.tensor(0.25)})
    torch.testing.assert_close(get_params(state)["loc_scale"], torch.tensor(0.25))
    torch.testing.assert_close(state.params["loc_scale"], torch.tensor(0.25).log())
    with pytest.raises(ParameterError, match="loc_scales"):
        svi.init(0, (DATA,), init_params={"loc_scales": torch.tensor(0.25)})


def test_guide_wins_where_both_programs_have_a_parameter():
    """SEMANTICS 65."""

    def shared_model():
        aleator.param("shared", torch.tensor(1.0), constraint=constraints.positive)
        aleator.sample("z", dist.Normal(0.0, 1.0))

    def shared_guide():
        value = aleator.param("shared", torch.tensor(4.0), constraint=constraints.positive)
        aleator.sample("z", dist.Normal(value, 1.0))

    state, get_params = SVI(shared_model, shared_guide, "Trace_ELBO", Adam(lr=0.1)).init(0)
    torch.testing.assert_close(get_params(state)["shared"], torch.tensor(4.0))


def test_stable_update_keeps_the_old_state_on_a_non_finite_result(svi):
    """SEMANTICS 65: parameters and optimizer are the old ones, and the next draw is another."""
    state, _ = svi.init(0, (DATA,))
    broken = DATA.clone()
    broken[0] = float("nan")
    with aleator.validation_enabled(False):
        new, loss = svi.stable_update(state, (broken,))
    assert not loss.isfinite()
    assert equal(new[:3], state[:3])
    assert not equal(new.rng, state.rng)
    assert equal(svi.stable_update(state, (DATA,)), svi.update(state, (DATA,)))


def test_no_ambient_store_is_read_or_written(svi):
    with aleator.ParamStore() as store:
        store["loc_loc"] = torch.tensor(100.0)
        state, get_params = svi.init(0, (DATA,))
        state, _ = svi.run(state, 3, (DATA,))
        svi.evaluate(state, (DATA,))
        assert list(store) == ["loc_loc"]
        assert store["loc_loc"].item() == 100.0
        assert get_params(state)["loc_loc"].item() < 10.0


def test_process_randomness_is_left_alone(svi):
    before = torch.get_rng_state()
    state, _ = svi.init(0, (DATA,))
    svi.update(state, (DATA,))
    assert torch.equal(before, torch.get_rng_state())


def test_a_generator_starts_a_run(svi):
    state, _ = svi.init(torch.Generator().manual_seed(5), (DATA,))
    assert equal(state, svi.init(5, (DATA,))[0])


def test_torch_optimizers_are_refused_by_name():
    with pytest.raises(ValueError, match=r"Adam.*pure form"):
        SVI(model, guide, Trace_ELBO(), torch.optim.Adam)


def test_loss_by_name_and_by_function_agree(svi):
    """A callable gets constrained parameters; catches gradients that miss the transform."""
    by_function = SVI(model, guide, elbo, Adam(lr=0.05))
    by_name = SVI(model, guide, "Trace_ELBO", Adam(lr=0.05))
    states = [one.run(one.init(0, (DATA,))[0], 4, (DATA,)) for one in (svi, by_function, by_name)]
    for other in states[1:]:
        for left, right in zip(leaves(states[0]), leaves(other), strict=True):
            torch.testing.assert_close(left, right)


def test_keywords_reach_both_programs():
    def wide_model(width):
        aleator.sample("z", dist.Normal(0.0, width))

    def wide_guide(width):
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(width)), 1.0))

    state, get_params = SVI(wide_model, wide_guide, "Trace_ELBO", Adam(lr=0.1), width=7.0).init(0)
    assert get_params(state)["loc"].item() == 7.0


def test_fits_the_posterior():
    """The posterior is Normal(sum(x) / (n + 1/25), (n + 1/25) ** -0.5); catches a step that goes nowhere."""
    svi = SVI(model, guide, Trace_ELBO(num_particles=50, vectorize_particles=True), Adam(lr=0.1))
    state, get_params = svi.init(0, (DATA,))
    state, _ = svi.run(state, 150, (DATA,))
    precision = len(DATA) + 1 / 25
    assert abs(get_params(state)["loc_loc"].item() - DATA.sum().item() / precision) < 0.15
    assert abs(get_params(state)["loc_scale"].item() - precision**-0.5) < 0.12


def test_elbo_is_differentiable_in_constrained_values():
    """A point at m against Normal(3, 1): the gradient is m - 3."""

    def normal_model():
        aleator.sample("z", dist.Normal(3.0, 1.0))

    def point_guide():
        aleator.sample("z", dist.Delta(aleator.param("m")))

    grads = torch.func.grad(elbo)({"m": torch.tensor(1.0)}, normal_model, point_guide)
    torch.testing.assert_close(grads["m"], torch.tensor(-2.0))


def test_missing_parameter_of_elbo_is_named():
    with pytest.raises(ParameterError, match="loc_loc"):
        elbo({}, model, guide, (DATA,))


def test_grad_through_evaluate(svi):
    """A state's parameters may be those of ``torch.func.grad``."""
    state, _ = svi.init(0, (DATA,))

    def loss(params):
        return svi.update(state._replace(params=params), (DATA,))[1]

    value = torch.func.grad_and_value(loss)(state.params)[1]
    assert torch.equal(value, svi.evaluate(state, (DATA,)))


def stacked(svi, count):
    states = [svi.init(seed, (DATA,), init_params={"loc_loc": torch.tensor(float(seed))})[0] for seed in range(count)]
    return torch.utils._pytree.tree_map(lambda *same: torch.stack(same), *states)


def test_vmap_trains_restarts_at_once():
    """Lanes draw differently, all reach the posterior, and the result is a function of the states."""
    svi = SVI(model, guide, Trace_ELBO(num_particles=20, vectorize_particles=True), Adam(lr=0.1))
    states = stacked(svi, 4)
    update = torch.func.vmap(svi.update, in_dims=(0, None), randomness="different")
    first = update(states, (DATA,))
    assert equal(first, update(states, (DATA,)))
    assert first[0].rng["cpu"].shape == states.rng["cpu"].shape
    losses = []
    for _ in range(100):
        states, loss = update(states, (DATA,))
        losses.append(loss)
    assert loss.unique().numel() == 4
    target = DATA.sum() / (len(DATA) + 1 / 25)
    assert (states.params["loc_loc"] - target).abs().max() < 0.3


def test_vmap_with_equal_draws_is_the_single_update(svi):
    """Without randomness in the programs a lane is the single run, to rounding."""

    def still_guide():
        aleator.sample("loc", dist.Delta(aleator.param("at", torch.tensor(0.0))))

    still = SVI(model, still_guide, Trace_ELBO(), Adam(lr=0.05))
    singles = [still.init(0, (DATA,), init_params={"at": torch.tensor(at)})[0] for at in (0.0, 2.0)]
    states = torch.utils._pytree.tree_map(lambda *same: torch.stack(same), *singles)
    mapped, losses = torch.func.vmap(still.update, in_dims=(0, None), randomness="different")(states, (DATA,))
    for lane, single in enumerate(singles):
        expected, loss = still.update(single, (DATA,))
        torch.testing.assert_close(mapped.params["at"][lane], expected.params["at"])
        torch.testing.assert_close(losses[lane], loss)


OTHER_PROCESS = """
import sys, torch, warnings
warnings.simplefilter("error")
sys.path.insert(0, {folder!r})
from test_functional import DATA, Adam, SVI, Trace_ELBO, guide, model
from aleator_svi_elbo.functional import SVIState
from aleator.optim import OptimizerState
params, slots, rates, rng = torch.load({path!r})
state = SVIState(params, OptimizerState(slots, rates, {{}}, {{}}, ()), {{}}, rng)
svi = SVI(model, guide, Trace_ELBO(), Adam(lr=0.05))
state, losses = svi.run(state, 3, (DATA,))
torch.save((state.params, losses, svi.get_params(state)), {path!r})
"""


def test_another_process_continues_bit_for_bit(svi, tmp_path):
    """The other process has never called ``init``: it learns the constraints from the programs."""
    state, get_params = svi.init(1, (DATA,))
    state, _ = svi.run(state, 2, (DATA,))
    path = str(tmp_path / "state.pt")
    torch.save((state.params, state.optim_state.slots, state.optim_state.learning_rates, state.rng), path)
    code = OTHER_PROCESS.format(folder=str(__file__).rpartition("/")[0], path=path)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    expected, losses = svi.run(state, 3, (DATA,))
    assert equal(torch.load(path), (expected.params, losses, get_params(expected)))


def test_unknown_constraints_are_said(svi):
    state, _ = svi.init(0, (DATA,))
    fresh = SVI(model, guide, Trace_ELBO(), Adam(lr=0.05))
    with pytest.raises(ParameterError, match="constraint of parameter"):
        fresh.get_params(state)


@pytest.mark.parametrize(
    ("constraint", "value"),
    [
        (constraints.simplex, torch.tensor([0.2, 0.3, 0.5])),
        (constraints.corr_cholesky, torch.eye(3)),
        (constraints.positive_definite, torch.eye(2)),
    ],
    ids=["simplex", "corr_cholesky", "positive_definite"],
)
def test_parameters_of_constraints_with_event_dims(constraint, value):
    """Their transforms need a shape: a stand-in without dims is none of their values."""

    def guide():
        entries = aleator.param("p", value, constraint=constraint)
        drawn_at = (entries * torch.arange(1.0, 1.0 + value.numel()).reshape(value.shape)).sum()
        aleator.sample("z", dist.Normal(drawn_at, 1.0))

    def model():
        aleator.sample("z", dist.Normal(0.0, 1.0))

    svi = SVI(model, guide, "Trace_ELBO", Adam(lr=0.01))
    state, get_params = svi.init(0)
    torch.testing.assert_close(get_params(state)["p"], value)
    state, _ = svi.update(state)
    assert (get_params(state)["p"] != value).any()
