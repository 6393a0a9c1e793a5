"""What is stored, how it is read and written, and who shares it."""

import copy
import gc
import io
import pickle
import threading
import warnings
import weakref

import pytest
import torch
from torch.distributions import constraints, transform_to
from torch.utils._python_dispatch import TorchDispatchMode

from aleator.errors import AleatorWarning, ParameterError
from aleator.params import ParamStore, clear_param_store, current_store, get_param_store


@pytest.fixture
def store():
    return ParamStore()


class CountedOperations(TorchDispatchMode):
    """Notes the name of every kernel that runs."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


# Unconstrained inside, constrained outside (SEMANTICS 59)


@pytest.mark.parametrize(
    ("constraint", "value"),
    [
        (constraints.positive, torch.tensor([0.5, 2.0])),
        (constraints.nonnegative, torch.tensor([0.5, 2.0])),
        (constraints.greater_than(0.25), torch.tensor([0.5, 2.0])),
        (constraints.greater_than_eq(0.25), torch.tensor([0.5, 2.0])),
        (constraints.less_than(3.0), torch.tensor([0.5, 2.0])),
        (constraints.less_than(0.0), torch.tensor([-0.5, -2.0])),
        (constraints.unit_interval, torch.tensor([0.25, 0.75])),
        (constraints.interval(-1.0, 2.0), torch.tensor([0.25, 0.75])),
        (constraints.independent(constraints.positive, 1), torch.tensor([0.5, 2.0])),
        (constraints.lower_cholesky, torch.tensor([[1.0, 0.0], [0.5, 2.0]])),
        (constraints.corr_cholesky, torch.tensor([[1.0, 0.0], [0.6, 0.8]])),
        (constraints.positive_definite, torch.tensor([[2.0, 0.5], [0.5, 1.0]])),
    ],
    ids=repr,
)
def test_a_read_is_torchs_transform_of_the_leaf(store, constraint, value):
    read = store.read("x", value, constraint)
    leaf = store.unconstrained("x")
    assert leaf.is_leaf
    assert leaf.requires_grad
    assert read.unconstrained() is leaf
    assert torch.equal(read, transform_to(constraint)(leaf))
    torch.testing.assert_close(read, value)
    assert read.shape == value.shape
    ours = torch.autograd.grad(read.square().sum(), leaf)[0]
    torchs = torch.autograd.grad(transform_to(constraint)(leaf).square().sum(), leaf)[0]
    assert torch.equal(ours, torchs)


@pytest.mark.parametrize("constraint", [constraints.real, constraints.real_vector, None], ids=repr)
def test_a_real_parameter_is_read_as_its_leaf(store, constraint):
    read = store.read("x", torch.tensor([1.0, 2.0]), constraint)
    assert read is store.unconstrained("x")
    assert read is store["x"]
    assert read.unconstrained() is read


def test_a_simplex_is_the_softmax_of_k_unconstrained_values(store):
    """SEMANTICS 61."""
    value = torch.tensor([0.2, 0.3, 0.5])
    store.read("p", value, constraints.simplex)
    leaf = store.unconstrained("p")
    assert leaf.shape == (3,)  # biject_to would keep two
    torch.testing.assert_close(leaf.detach(), value.log())
    torch.testing.assert_close(store["p"], transform_to(constraints.simplex)(leaf), rtol=1e-6, atol=0)
    with torch.no_grad():
        leaf += 5.0  # the gauge: a common shift changes nothing
    torch.testing.assert_close(store["p"].detach(), value)
    gradient = torch.autograd.grad(store["p"][0], leaf)[0]
    torch.testing.assert_close(gradient.sum(), torch.tensor(0.0), atol=1e-7, rtol=0)


def test_a_softmax_over_many_single_precision_values_may_be_stored(store):
    # Its sum misses 1 by more than the 1e-6 that torch's own check allows.
    value = torch.softmax(torch.randn(100_000, generator=torch.Generator().manual_seed(0)) * 3, -1)
    assert not constraints.simplex.check(value)
    torch.testing.assert_close(store.read("p", value, constraints.simplex).detach(), value)


@pytest.mark.parametrize(
    ("constraint", "value", "kernels"),
    [
        (constraints.real, 1.0, []),
        (constraints.positive, 1.0, ["exp"]),
        (constraints.independent(constraints.positive, 1), torch.ones(2), ["exp"]),
        (constraints.greater_than(0.5), 1.0, ["exp", "add"]),
        (constraints.simplex, torch.tensor([0.5, 0.5]), ["_softmax"]),
    ],
    ids=repr,
)
def test_a_read_runs_no_more_kernels_than_it_must(store, constraint, value, kernels):
    init = torch.as_tensor(value)
    store.read("x", init, constraint)
    with CountedOperations() as operations, torch.no_grad():
        store.read("x", init, constraint)
    assert operations.names == kernels


def test_a_value_keeps_no_parameter_alive_and_makes_no_cycle(store):
    gc.collect()
    gc.disable()
    try:
        store["real"] = 1.0
        store.setdefault("scale", 1.0, constraints.positive)
        value = store["scale"].detach()
        value.unconstrained = store["scale"].unconstrained
        leaves = [weakref.ref(store.unconstrained(name)) for name in store]
        store.buffers["b"] = torch.zeros(2)
        leaves.append(weakref.ref(store.buffers["b"]))
        kept = weakref.ref(store)
        del store["real"], store["scale"], store.buffers["b"]
        assert [leaf() for leaf in leaves] == [None, None, None]
        assert value.unconstrained() is None
        other = ParamStore()
        other["x"] = 1.0
        with other.bind({"x": torch.ones(())}, {}):
            other.read("x")
        with other.scope():
            other["y"] = 2.0
        leaf, other = weakref.ref(other["x"]), None
        assert leaf() is None
        assert kept() is store
    finally:
        gc.enable()


def test_reading_leaves_the_number_of_live_tensors_alone(store):
    store["x"] = 1.0
    store.setdefault("scale", 1.0, constraints.positive)

    def live():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    def step():
        (store.read("x") * store.read("scale")).backward()
        with store.bind(dict(store.named_parameters()), {}):
            store.read("scale", torch.tensor(1.0), constraints.positive)

    step()
    before = live()
    for _ in range(50):
        step()
    assert live() == before


def test_leaves_and_values_can_be_copied_and_pickled(store):
    module = torch.nn.Linear(2, 1)
    store.adopt("weight", module.weight)
    store.setdefault("scale", 1.0, constraints.positive)
    store["x"] = 2.0
    copied = copy.deepcopy(module)
    assert not hasattr(copied.weight, "unconstrained")
    assert copy.deepcopy(store["x"]).unconstrained() is None
    file = io.BytesIO()
    torch.save({"module": module.state_dict(), "leaf": store["x"], "weight": module.weight}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["leaf"] == 2.0
    assert pickle.loads(pickle.dumps(module)).weight.equal(module.weight)


# The stored value counts (SEMANTICS 60)


def test_the_stored_value_is_returned_whatever_else_is_passed(store):
    first = store.read("x", torch.tensor(1.0))
    assert store.read("x", torch.tensor(7.0)) is first
    assert store.read("x", lambda: pytest.fail("an init callable ran again")) is first
    assert store.setdefault("x", 3.0) is first
    assert store.read("x") is first


def test_another_shape_warns_once_and_names_both(store):
    store.read("x", torch.zeros(3))
    with pytest.warns(AleatorWarning, match=r"'x'.*shape \(3,\).*shape \(2,\)"):
        assert store.read("x", torch.zeros(2)).shape == (3,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.read("x", torch.zeros(2))
        store.read("x", torch.zeros(4), constraints.positive)


def test_another_constraint_warns_once_and_names_both(store):
    store.read("x", 1.0, constraints.positive)
    expected = r"'x'.*constraint positive.*interval\(lower_bound=0.0, upper_bound=2.0\)"
    with pytest.warns(AleatorWarning, match=expected):
        store.read("x", 1.0, constraints.interval(0.0, 2.0))
    store.read("x", 1.0, constraints.real)


def test_the_same_constraint_in_another_object_does_not_warn(store):
    store.read("x", 1.0, constraints.greater_than(0.0))
    store.read("x", 1.0, constraints.positive)
    store.read("y", torch.ones(2), constraints.interval(torch.zeros(2), 3.0))
    store.read("y", torch.ones(2), constraints.interval(torch.zeros(2), 3.0))
    store.read("m", torch.eye(2), constraints.corr_cholesky)  # its leaf has another shape than its value
    store.read("m", torch.eye(2), constraints.corr_cholesky)
    with pytest.warns(AleatorWarning, match="'y'"):
        store.read("y", torch.ones(2), constraints.interval(torch.zeros(2) - 1, 3.0))


# Writing


def test_assignment_keeps_constraint_and_leaf(store):
    store.read("scale", 1.0, constraints.positive)
    leaf = store.unconstrained("scale")
    store["scale"] = torch.tensor(2.0)
    assert store.unconstrained("scale") is leaf
    torch.testing.assert_close(leaf.detach(), torch.tensor(2.0).log())
    store["scale"] = torch.tensor([2.0, 3.0])
    assert store.unconstrained("scale").shape == (2,)
    assert store.constraint("scale") is constraints.positive


def test_a_new_name_is_real_and_holds_a_copy(store):
    given = torch.tensor([1.0, 2.0])
    store["x"] = given
    given.zero_()
    assert store.constraint("x") is constraints.real
    assert store["x"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_refused_assignment_changes_nothing(store, value):
    store.read("scale", 1.0, constraints.positive)
    with pytest.raises(ParameterError, match="'scale'"):
        store["scale"] = value
    assert store["scale"].item() == 1.0


def test_the_mapping_protocol(store):
    store["a.x"], store["a.y"], store["b"] = 1.0, 2.0, 3.0
    assert list(store) == list(store.keys()) == ["a.x", "a.y", "b"]
    assert len(store) == 3
    assert "b" in store
    assert "c" not in store
    assert [value.item() for value in store.values()] == [1.0, 2.0, 3.0]
    assert {name: value.item() for name, value in store.items()} == {"a.x": 1.0, "a.y": 2.0, "b": 3.0}
    assert set(store.match(r"a\.")) == {"a.x", "a.y"}
    assert dict(store.named_parameters())["b"] is store.unconstrained("b")
    assert store.get("b").item() == 3.0
    assert store.get("c") is None
    for name in store:  # deleting on the way is allowed
        del store[name]
    assert len(store) == 0
    with pytest.raises(ParameterError, match="'b'"):
        del store["b"]


def test_a_missing_name_is_told_with_its_neighbours(store):
    store["scale"] = 1.0
    with pytest.raises(ParameterError, match="'scle' is not in the store; nearest names: 'scale'") as caught:
        store["scle"]
    assert isinstance(caught.value, KeyError)
    with pytest.raises(ParameterError, match="'scle'"):
        store.entry("scle")
    assert list(store) == ["scale"]


def test_an_entry_gives_leaf_transform_and_constraint(store):
    store.read("scale", 2.0, constraints.positive)
    leaf, transform, constraint = store.entry("scale")
    assert leaf is store.unconstrained("scale")
    assert constraint is constraints.positive
    assert torch.equal(transform(leaf), store["scale"])
    assert store.entry("scale") is store.entry("scale")


def test_clear_removes_all(store):
    store["x"] = 1.0
    store.buffers["b"] = torch.zeros(())
    store.clear()
    assert len(store) == len(store.buffers) == 0


def test_repr_shows_what_is_stored(store):
    store.read("scale", torch.ones(2), constraints.greater_than(0.5))
    store.buffers["mean"] = torch.zeros(3)
    assert repr(store).splitlines() == [
        "ParamStore of 1 parameter and 1 buffer",
        "  'scale': greater_than(lower_bound=0.5), shape (2,), torch.float32 on cpu",
        "  buffer 'mean': shape (3,), torch.float32 on cpu",
    ]


# A module's own parameters


def test_registering_keeps_a_modules_parameter(store):
    module = torch.nn.Linear(2, 1)
    assert store.register("weight", module.weight) is module.weight
    assert store["weight"] is module.weight
    assert store.register("weight", module.weight) is module.weight
    with pytest.raises(ParameterError, match="'weight' is stored already"):
        store.register("weight", torch.nn.Linear(2, 1).weight)
    store["weight"] = torch.ones(1, 2)
    assert module.weight.tolist() == [[1.0, 1.0]]


def test_adopting_copies_the_stored_value_into_the_module(store):
    store["weight"] = torch.tensor([[3.0, 4.0]])
    module = torch.nn.Linear(2, 1)
    weight = module.weight
    assert store.adopt("weight", weight) is weight
    assert store["weight"] is weight
    assert weight.tolist() == [[3.0, 4.0]]
    assert store.adopt("weight", weight) is weight
    assert store.adopt("bias", module.bias) is module.bias
    assert store["bias"] is module.bias


def test_adopting_keeps_the_constraint(store):
    store.read("scale", torch.tensor([2.0]), constraints.positive)
    held = torch.nn.Parameter(torch.zeros(1))
    store.adopt("scale", held)
    torch.testing.assert_close(held.detach(), torch.tensor([2.0]).log())
    torch.testing.assert_close(store["scale"].detach(), torch.tensor([2.0]))
    assert store["scale"].unconstrained() is held


def test_what_cannot_be_a_leaf_is_refused(store):
    store["weight"] = torch.zeros(2, 2)
    module = torch.nn.Linear(2, 1)
    before = module.weight.detach().clone()
    with pytest.raises(ParameterError, match=r"'weight' is stored with shape \(2, 2\).*\(1, 2\)"):
        store.adopt("weight", module.weight)
    assert module.weight.equal(before)
    with pytest.raises(ParameterError, match="requires_grad=False"):
        store.register("frozen", torch.zeros(2))
    with pytest.raises(ParameterError, match="is_leaf=False"):
        store.register("computed", torch.zeros(2, requires_grad=True) * 2)
    with pytest.raises(ParameterError, match="must be finite"):
        store.register("broken", torch.nn.Parameter(torch.tensor([1.0, float("nan")])))
    with pytest.raises(ParameterError, match="lazy module"):
        store.register("lazy", torch.nn.LazyLinear(2).weight)
    assert list(store) == ["weight"]


# Buffers


def test_buffers_belong_to_the_run_and_are_no_parameters(store):
    mean = torch.zeros(2)
    store.buffers["mean"] = mean
    assert store.buffers["mean"] is mean  # a module's own buffer stays its own
    store.buffers["cut"] = (torch.ones(2, requires_grad=True) * 2).sum()
    assert not store.buffers["cut"].requires_grad
    assert list(store.buffers) == ["mean", "cut"]
    assert list(store) == []
    assert "mean" in store.buffers
    with pytest.raises(KeyError, match="buffer 'men' is not in the store; nearest names: 'mean'"):
        store.buffers["men"]
    with pytest.raises(ParameterError, match="found a float"):
        store.buffers["x"] = 1.0
    del store.buffers["cut"]
    assert len(store.buffers) == 1
    assert repr(store.buffers) == "Buffers('mean': (2,))"


# Scopes and states (SEMANTICS 64)


def test_a_scope_gives_back_its_content_and_restores_the_outer(store):
    store["x"] = 1.0
    store.buffers["b"] = torch.zeros(())
    leaf = store["x"]
    with store.scope() as inner:
        assert len(store) == len(store.buffers) == 0
        store.read("y", 2.0, constraints.positive)
        store.buffers["c"] = torch.ones(())
        inside = store.unconstrained("y")
    assert store["x"] is leaf
    assert list(store) == ["x"]
    assert list(store.buffers) == ["b"]
    assert set(inner["params"]) == {"y"}
    with store.scope(inner) as again:
        assert again is inner
        assert store.unconstrained("y") is inside  # optimizers that hold it go on
        assert store.constraint("y") is constraints.positive
        assert list(store.buffers) == ["c"]
        store["z"] = 1.0
    assert set(inner["params"]) == {"y", "z"}


def test_a_scope_restores_the_outer_content_after_an_exception(store):
    store["x"] = 1.0
    leaf = store["x"]
    state = {"params": {"y": torch.tensor(1.0)}}
    with pytest.raises(ParameterError, match="'z'"), store.scope(state):
        store["y"], store["z"] = 2.0, float("nan")
    assert list(store) == ["x"]
    assert store["x"] is leaf
    assert state["params"]["y"].item() == 2.0


def test_scopes_nest(store):
    store["x"] = 1.0
    with store.scope():
        store["y"] = 1.0
        with store.scope():
            assert list(store) == []
        assert list(store) == ["y"]
    assert list(store) == ["x"]


def test_a_state_is_a_copy_and_setting_it_merges(store):
    store["x"] = 1.0
    store.read("scale", 2.0, constraints.positive)
    store.buffers["b"] = torch.zeros(2)
    leaf, buffer = store["x"], store.buffers["b"]
    state = store.get_state()
    store["x"], store["new"] = 5.0, 7.0
    buffer += 1
    store.set_state(state)
    assert store["x"] is leaf
    assert leaf.item() == 1.0
    assert store.buffers["b"] is buffer
    assert buffer.tolist() == [0.0, 0.0]
    assert set(store) == {"x", "scale", "new"}
    other = ParamStore()
    other.set_state(state)
    assert other["scale"].item() == 2.0
    other["x"] = 9.0
    assert state["params"]["x"].item() == 1.0


def test_a_state_may_lack_parts_and_may_change_shape_or_constraint(store):
    store["x"] = 1.0
    leaf = store["x"]
    store.set_state({"params": {"x": torch.tensor(0.0)}, "constraints": {"x": constraints.positive}})
    assert store.unconstrained("x") is leaf
    assert store["x"].item() == 1.0
    store.set_state({"params": {"x": torch.zeros(2)}})
    assert store["x"].tolist() == [0.0, 0.0]
    assert store["x"].requires_grad


@pytest.mark.parametrize(
    "state",
    [
        {"parameters": {}},
        [],
        {"params": {"x": torch.tensor(9.0), "y": "no tensor"}},
        {"params": {"x": torch.tensor(9.0)}, "constraints": {"x": constraints.boolean}},
        {"params": {"x": torch.tensor(9.0)}, "buffers": {"b": 1}},
    ],
)
def test_a_state_is_set_whole_or_not_at_all(store, state):
    store["x"] = 1.0
    with pytest.raises(ParameterError):
        store.set_state(state)
    with pytest.raises(ParameterError), store.scope(state):
        pass
    assert list(store) == ["x"]
    assert store["x"].item() == 1.0


# The current store


def test_the_innermost_store_is_current():
    default = current_store()
    assert get_param_store() is default
    with ParamStore() as outer:
        with ParamStore() as inner, inner:
            assert current_store() is inner
        assert current_store() is outer
        outer["x"] = 1.0
        clear_param_store()
        assert len(outer) == 0
    assert current_store() is default


def test_an_exception_leaves_no_store_behind():
    default = current_store()
    with pytest.raises(RuntimeError), ParamStore():
        raise RuntimeError
    assert current_store() is default


def test_a_new_thread_starts_with_the_default_store_and_keeps_its_own():
    default, seen = current_store(), []

    def work(shared):
        seen.append(current_store())
        with shared:
            seen.append(current_store())
        with ParamStore() as own:
            seen.append(current_store() is own)

    with ParamStore() as shared:
        thread = threading.Thread(target=work, args=(shared,))
        thread.start()
        thread.join()
        assert current_store() is shared
    assert seen == [default, shared, True]
