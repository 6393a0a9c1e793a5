"""Plates, reserved dims, stacks of plates, and rows of minibatches."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.plates import active_plates, reserve_dims
from aleator.runtime import STACK


class HostReads(TorchDispatchMode):
    """Counts how often a number is read back from the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


# ---- sizes ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"plate 'data' needs a size, or the indices of all its elements as subsample="),
        ({"size": -1}, r"plate 'data': size must not be negative, but is -1"),
        ({"size": 3, "subsample_size": 4}, r"subsample_size must be between 1 and the size 3, but is 4"),
        ({"size": 3, "subsample_size": 0}, r"subsample_size must be between 1 and the size 3, but is 0"),
        ({"size": 0, "subsample_size": 1}, r"plate 'data': size must not be negative, but is 0"),
        ({"size": 9, "subsample_size": 2, "subsample": [1]}, r"subsample_size is 2, but subsample holds 1 indices"),
        ({"size": 9, "subsample": [[1]]}, r"subsample must be a vector of indices, but has shape \(1, 1\)"),
        ({"size": 9, "dim": 0}, r"dim counts from the right and must be a negative int, but found 0"),
        ({"size": 9, "dim": True}, r"must be a negative int, but found True"),
        ({"size": 9, "dim": -1.0}, r"must be a negative int, but found -1.0"),
    ],
)
def test_sizes_and_dims_that_contradict_each_other(arguments, message):
    """SEMANTICS 73: consistency of `size`, `subsample` and `subsample_size`; the plate names itself."""
    with pytest.raises(ValueError, match=message) as caught:
        aleator.plate("data", **arguments)
    assert "'data'" in str(caught.value)


def test_sizes_that_agree():
    """SEMANTICS 73."""
    assert len(aleator.plate("data", 5)) == 5
    assert len(aleator.plate("data", 5, 2)) == 2
    assert len(aleator.plate("data", 5, subsample=[0, 4])) == 2
    assert len(aleator.plate("data", 5, subsample_size=2, subsample=torch.tensor([0, 4]))) == 2
    assert len(aleator.plate("data", subsample=range(3))) == 3
    assert len(aleator.plate("data", torch.tensor(3))) == 3
    assert repr(aleator.plate("data", 5, 2, dim=-3)) == "plate('data', 5, subsample_size=2, dim=-3)"


def test_an_empty_plate():
    with handlers.trace() as trace, aleator.plate("data", 0):
        assert aleator.sample("x", dist.Normal(0.0, 1.0)).shape == (0,)
    assert trace.log_prob_sum() == 0.0
    assert list(aleator.plate("data", 0)) == []


def test_a_full_plate_has_all_elements_in_order():
    assert aleator.plate("data", 4).indices.tolist() == [0, 1, 2, 3]
    assert list(aleator.plate("data", 4)) == [0, 1, 2, 3]
    assert list(aleator.plate("data", 9, subsample=[7, 2])) == [7, 2]


def test_indices_live_where_they_are_asked_to():
    assert aleator.plate("data", 4, device="meta").indices.device.type == "meta"
    assert aleator.plate("data", 4, 2, device=torch.device("cpu")).indices.device.type == "cpu"
    with torch.device("meta"):
        assert aleator.plate("data", 4).indices.device.type == "meta"
    assert aleator.plate("data", 4).indices.device.type == "cpu"


def test_indices_that_somebody_wrote_into_are_not_handed_out_again():
    aleator.plate("data", 6).indices[0] = 5
    assert aleator.plate("data", 6).indices.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_full_plate_reads_nothing_from_the_device():
    """DESIGN 2, 7: as a block, and as a loop."""
    with HostReads() as reads, handlers.trace():
        with aleator.plate("rows", 4):
            aleator.sample("x", dist.Normal(0.0, 1.0))
            aleator.subsample(torch.arange(4.0), event_dim=0)
        for i in aleator.plate("loop", 3):
            aleator.sample(f"y_{i}", dist.Normal(0.0, 1.0))
    assert reads.count == 0


def test_a_subsampled_block_reads_nothing_from_the_device():
    with HostReads() as reads, handlers.trace(), aleator.plate("rows", 40, subsample_size=5):
        aleator.sample("x", dist.Normal(0.0, 1.0))
        aleator.subsample(torch.arange(40.0), event_dim=0)
    assert reads.count == 0


# ---- names, dims, forms ----


def test_one_plate_in_both_forms():
    """SEMANTICS 73: used both as iterator and as context raises; each form alone may be repeated."""
    plate = aleator.plate("data", 2)
    for _ in range(2):
        with plate:
            pass
    with pytest.raises(ValueError, match=r"plate 'data' is used as context manager and as iterator; make two plates"):
        list(plate)
    loop = aleator.plate("loop", 2)
    assert list(loop) == list(loop) == [0, 1]
    with pytest.raises(ValueError, match="plate 'loop' is used as iterator and as context manager"), loop:
        pass


def test_a_plate_inside_a_plate_of_its_name():
    """SEMANTICS 73."""
    plate = aleator.plate("data", 2)
    message = "plate 'data' is entered inside a plate of that name"
    with plate:
        with pytest.raises(ValueError, match=message), plate:
            pass
        with pytest.raises(ValueError, match=message), aleator.plate("data", 3):
            pass
        with pytest.raises(ValueError, match=message):
            list(aleator.plate("data", 3))
    with plate:
        assert aleator.sample("x", dist.Normal(0.0, 1.0)).shape == (2,)
    for _ in aleator.plate("loop", 1):
        with pytest.raises(ValueError, match="plate 'loop' is entered inside"), aleator.plate("loop", 3):
            pass


def test_two_plates_of_one_name_in_one_run():
    """SEMANTICS 73: same name twice raises, where something records the run."""

    def model():
        for _ in range(2):
            with aleator.plate("data", 2):
                pass

    with pytest.raises(ValueError, match="two subsample sites named 'data' in one run"):
        handlers.trace(model).get_trace()


def test_a_plate_and_a_draw_of_one_name():
    def model():
        with aleator.plate("data", 2):
            aleator.sample("data", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match="site 'data' is a subsample site and, later in the same run, a sample site"):
        handlers.trace(model).get_trace()


def test_two_plates_on_one_dim_name_both():
    """SEMANTICS 73."""
    with (
        aleator.plate("rows", 2, dim=-2),
        pytest.raises(ValueError, match=r"plates 'rows' and 'columns' both claim dim -2; give one another dim"),
        aleator.plate("columns", 2, dim=-2),
    ):
        pass
    assert STACK.get() == ()


def test_the_dim_is_found_anew_at_each_entry():
    plate = aleator.plate("inner", 2)
    with plate:
        assert plate.dim == -1
    with aleator.plate("outer", 3), plate:
        assert plate.dim == -2
        assert aleator.sample("x", dist.Normal(0.0, 1.0)).shape == (2, 3)


def test_a_loop_takes_no_dim():
    with handlers.trace() as trace:
        for i in aleator.plate("loop", 2):
            with aleator.plate(f"rows_{i}", 3):
                aleator.sample(f"x_{i}", dist.Normal(0.0, 1.0))
    assert trace.nodes["x_1"].value.shape == (3,)
    assert [(frame.name, frame.dim, frame.counter) for frame in trace.nodes["x_1"].frames] == [
        ("loop", None, 1),
        ("rows_1", -1, 0),
    ]


def test_the_active_plates():
    with aleator.plate("rows", 2), handlers.scale(scale=2.0):
        for _ in aleator.plate("loop", 1):
            assert [plate.name for plate in active_plates()] == ["rows", "loop"]
    assert list(active_plates()) == []


def test_a_plate_as_decorator():
    @aleator.plate("data", 3)
    def model():
        return aleator.sample("x", dist.Normal(0.0, 1.0))

    assert model().shape == (3,)


# ---- reserved dims ----


def test_reserved_dims_are_free_adjacent_and_left_of():
    """DESIGN 3."""
    with handlers.trace(), aleator.plate("rows", 2, dim=-3):
        assert list(reserve_dims(1, left_of=0)) == [-1]
        assert list(reserve_dims(2, left_of=-1)) == [-4, -5]  # -2, -3 would meet the plate
        assert list(reserve_dims(1, left_of=0)) == [-2]
        with aleator.plate("automatic", 2) as _:
            assert next(p.dim for p in active_plates() if p.name == "automatic") == -6


def test_a_plate_cannot_take_a_reserved_dim():
    """DESIGN 3."""
    with handlers.trace():
        reserve_dims(1, left_of=-1)
        message = r"plate 'data' claims dim -2, which is reserved for a reserved dim"
        with pytest.raises(ValueError, match=message), aleator.plate("data", 2, dim=-2):
            pass


def test_reserved_dims_end_with_the_run():
    with handlers.trace():
        reserve_dims(1, left_of=0)
    with handlers.trace(), aleator.plate("data", 2) as _:
        assert aleator.sample("x", dist.Normal(0.0, 1.0)).shape == (2,)


def test_reserving_needs_a_run():
    with pytest.raises(RuntimeError, match="reserve_dims was called outside a run; call it inside"):
        reserve_dims(1, left_of=0)
    with handlers.trace(), pytest.raises(ValueError, match=r"left_of .* must not be positive, but is 1"):
        reserve_dims(1, left_of=1)


def test_values_over_reserved_dims_pass_through_plates():
    with handlers.trace() as trace, aleator.plate("data", 3):
        (dim,) = reserve_dims(1, left_of=-1)
        z = torch.arange(2.0).reshape(2, 1)
        aleator.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(3))
    assert dim == -2
    assert trace.nodes["x"].fn.batch_shape == (2, 3)


# ---- stacks of plates ----


def test_a_stack_of_plates():
    with handlers.trace() as trace, aleator.plate_stack("grid", (2, 3, 4)):
        aleator.sample("x", dist.Normal(0.0, 1.0))
    site = trace.nodes["x"]
    assert site.value.shape == (2, 3, 4)
    assert {frame.name: (frame.dim, frame.size) for frame in site.frames} == {
        "grid_0": (-1, 4),
        "grid_1": (-2, 3),
        "grid_2": (-3, 2),
    }


def test_a_stack_further_left():
    with aleator.plate("data", 5), aleator.plate_stack("grid", (2, 3), rightmost_dim=-2):
        assert aleator.sample("x", dist.Normal(0.0, 1.0)).shape == (2, 3, 5)
    with pytest.raises(ValueError, match="plate_stack 'grid': rightmost_dim must be negative"):
        aleator.plate_stack("grid", (2,), rightmost_dim=0).__enter__()


def test_a_stack_that_does_not_fit_is_left_whole():
    """SEMANTICS 76."""

    def clash():
        with aleator.plate("data", 5, dim=-2), aleator.plate_stack("grid", (2, 3)):
            pass

    with pytest.raises(ValueError, match="'data' and 'grid_1' both claim dim -2"):
        clash()
    assert STACK.get() == ()


# ---- rows of minibatches ----


def test_rows_of_data():
    data = torch.arange(12.0).reshape(6, 2)
    with aleator.plate("data", 6, subsample=[4, 1]):
        assert aleator.subsample(data, event_dim=1).tolist() == [[8.0, 9.0], [2.0, 3.0]]
        assert aleator.subsample(data[:, 0], event_dim=0).tolist() == [8.0, 2.0]
    assert aleator.subsample(data, event_dim=1) is data


def test_rows_of_nested_minibatches():
    data = torch.arange(20.0).reshape(4, 5)
    with aleator.plate("columns", 5, subsample=[3, 0], dim=-1), aleator.plate("rows", 4, subsample=[2, 1], dim=-2):
        assert aleator.subsample(data, event_dim=0).tolist() == [[13.0, 10.0], [8.0, 5.0]]


def test_rows_of_what_is_shared_by_all_elements():
    """A dim of size 1, or none at all, belongs to every element."""
    with aleator.plate("data", 6, subsample=[4, 1]):
        shared = torch.zeros(1, 3)
        assert aleator.subsample(shared, event_dim=1) is shared
        assert aleator.subsample(torch.zeros(3), event_dim=1).shape == (3,)


def test_data_of_another_size_name_the_plate():
    """SEMANTICS 62."""
    with aleator.plate("data", 6, subsample=[4, 1]), pytest.raises(ValueError) as caught:  # noqa: PT011  # read below
        aleator.subsample(torch.zeros(5, 2), event_dim=1)
    text = str(caught.value)
    for part in ("subsample(data)", "plate 'data' has full size 6 at dim -1", "event_dim=1", "(5, 2)", "all 6 rows"):
        assert part in text


def test_parameters_give_the_rows_of_the_batch_and_optimizers_see_all():
    """SEMANTICS 62."""
    with aleator.ParamStore() as store:
        with aleator.plate("data", 6, subsample=[4, 1]):
            rows = aleator.param("locs", torch.arange(12.0).reshape(6, 2), event_dim=1)
        assert rows.tolist() == [[8.0, 9.0], [2.0, 3.0]]
        leaf = dict(store.named_parameters())["locs"]
        assert leaf.shape == (6, 2)
        rows.sum().backward()
        assert leaf.grad.sum(1).tolist() == [0.0, 2.0, 0.0, 0.0, 2.0, 0.0]


def test_a_parameter_without_event_dim_is_handed_out_whole():
    with aleator.ParamStore(), aleator.plate("data", 6, subsample=[4, 1]):
        assert aleator.param("shared", torch.zeros(6)).shape == (6,)


def test_a_parameter_of_another_size_names_plate_and_parameter():
    """SEMANTICS 62: wrong size names the plate."""
    with (
        aleator.ParamStore(),
        aleator.plate("data", 6, subsample_size=2),
        pytest.raises(ValueError, match=r"parameter 'locs': plate 'data' has full size 6 .*event_dim=0.*\(5,\)"),
    ):
        aleator.param("locs", torch.zeros(5), event_dim=0)


def test_a_lazy_init_runs_once():
    """SEMANTICS 62: also inside a subsampled plate."""
    calls = []

    def init():
        calls.append(1)
        return torch.zeros(6)

    with aleator.ParamStore():
        for _ in range(3):
            with aleator.plate("data", 6, subsample_size=2):
                assert aleator.param("locs", init, event_dim=0).shape == (2,)
    assert calls == [1]


def test_a_plate_under_no_grad_and_inference_mode():
    """The cached indices are plain tensors, whoever asked first."""
    with torch.inference_mode():
        assert aleator.plate("data", 17).indices.shape == (17,)
    indices = aleator.plate("data", 17).indices
    assert not indices.is_inference()
