"""Given tensors in place of the stored ones."""

import threading

import pytest
import torch
from torch.distributions import constraints
from torch.fx.experimental.proxy_tensor import make_fx

from aleator.errors import ParameterError
from aleator.params import ParamStore


@pytest.fixture
def store():
    store = ParamStore()
    store.read("loc", 1.0)
    store.read("scale", 2.0, constraints.positive)
    store.buffers["mean"] = torch.zeros(2)
    return store


def program(store):
    """0.5 loc^2 + scale, as a program would read it."""
    loc = store.read("loc", 0.0)
    scale = store.read("scale", lambda: torch.tensor(1.0), constraints.positive)
    return 0.5 * loc**2 + scale


def with_bound(store):
    def evaluate(loc, scale):
        with store.bind({"loc": loc, "scale": scale}):
            return program(store)

    return evaluate


def test_bound_tensors_are_read_through_the_stored_constraint(store):
    loc, scale = torch.tensor(3.0), torch.tensor(0.5)
    leaf = store["loc"]
    with store.bind({"loc": loc, "scale": scale}, {}):
        assert store.is_bound
        assert store.read("loc", torch.tensor(0.0)) is loc
        assert store["loc"].unconstrained() is loc
        assert torch.equal(store["scale"], scale.exp())
        assert store["scale"].unconstrained() is scale
        assert store.unconstrained("scale") is scale
        assert store.constraint("scale") is constraints.positive
        assert not loc.requires_grad
    assert not store.is_bound
    assert store["loc"] is leaf


def test_views_stay_views(store):
    flat = torch.tensor([3.0, 0.5], requires_grad=True)
    with store.bind({"loc": flat[0], "scale": flat[1]}):
        value = program(store)
    (gradient,) = torch.autograd.grad(value, flat)
    torch.testing.assert_close(gradient, torch.stack([torch.tensor(3.0), torch.tensor(0.5).exp()]))
    assert store["loc"].grad is None


def test_grad_vmap_and_their_composition(store):
    loc, scale = torch.tensor([3.0, -1.0]), torch.tensor([0.5, 0.0])
    evaluate = with_bound(store)
    torch.testing.assert_close(torch.func.grad(evaluate, (0, 1))(loc[0], scale[0]), (loc[0], scale[0].exp()))
    torch.testing.assert_close(torch.func.vmap(evaluate)(loc, scale), 0.5 * loc**2 + scale.exp())
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(evaluate))(loc, scale), loc)
    torch.testing.assert_close(torch.func.grad(torch.func.grad(evaluate, 1), 1)(loc[0], scale[0]), scale[0].exp())
    assert store["loc"].item() == 1.0


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_a_capture_replays_on_other_values(store, mode):
    graph = make_fx(with_bound(store), tracing_mode=mode)(torch.tensor(0.0), torch.tensor(0.0))
    loc, scale = torch.tensor(3.0), torch.tensor(0.5)
    assert torch.equal(graph(loc, scale), with_bound(store)(loc, scale))
    assert not [node for node in graph.graph.nodes if node.op == "get_attr"]  # no stored value was baked in


def test_a_name_that_the_store_lacks_takes_the_constraint_the_program_states():
    store = ParamStore()
    with store.bind({"scale": torch.tensor(0.5), "loc": torch.tensor(3.0)}):
        assert torch.equal(program(store), torch.tensor(4.5) + torch.tensor(0.5).exp())
        assert torch.equal(store["scale"], torch.tensor(0.5).exp())  # stated once, known until the end of the block
        assert store.constraint("scale") is constraints.positive
        assert store.entry("loc").constraint is constraints.real
    assert len(store) == 0


def test_a_name_that_is_not_bound_is_refused_and_nothing_is_created(store):
    with store.bind({"loc": torch.tensor(0.0)}, {"mean": torch.ones(2)}):
        for name in ("scale", "lok"):
            with pytest.raises(ParameterError, match=f"'{name}' is not among those bound for this step"):
                store.read(name, torch.tensor(1.0))
        with pytest.raises(ParameterError, match="nearest names: 'loc'"):
            store.read("lok", lambda: pytest.fail("an initial value was made"))
        with pytest.raises(ParameterError, match="buffer 'var' is not among those bound"):
            store.buffers["var"]
    assert set(store) == {"loc", "scale"}


def test_bound_buffers_are_read(store):
    mean = torch.ones(2)
    with store.bind({}, {"mean": mean}):
        assert store.buffers["mean"] is mean
        assert list(store.buffers) == ["mean"]
        assert len(store.buffers) == 1
        assert "var" not in store.buffers
    assert store.buffers["mean"].tolist() == [0.0, 0.0]
    with store.bind({}):
        assert list(store.buffers) == []


def test_the_names_are_the_bound_ones(store):
    with store.bind({"other": torch.tensor(1.0)}):
        assert list(store) == ["other"]
        assert len(store) == 1
        assert "loc" not in store
        assert dict(store.named_parameters()) == {"other": torch.tensor(1.0)}
        assert store.get("loc") is None


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.__setitem__("loc", 5.0),
        lambda store: store.__delitem__("loc"),
        lambda store: store.clear(),
        lambda store: store.register("new", torch.nn.Parameter(torch.zeros(2))),
        lambda store: store.adopt("loc", torch.nn.Parameter(torch.zeros(()))),
        lambda store: store.set_state({}),
        lambda store: store.scope().__enter__(),
        lambda store: store.buffers.__setitem__("mean", torch.ones(2)),
        lambda store: store.buffers.__delitem__("mean"),
    ],
)
def test_a_bound_store_is_not_written(store, write):
    before = store.get_state()
    with store.bind({"loc": torch.tensor(0.0)}), pytest.raises(ParameterError, match="while the store is bound"):
        write(store)
    after = store.get_state()
    assert before["params"] == after["params"]
    assert set(store.buffers) == {"mean"}


def test_bindings_nest_and_end_with_an_exception(store):
    with store.bind({"loc": torch.tensor(2.0)}):
        with store.bind({"loc": torch.tensor(3.0)}):
            assert store["loc"].item() == 3.0
        with pytest.raises(RuntimeError), store.bind({"loc": torch.tensor(4.0)}):
            raise RuntimeError
        assert store["loc"].item() == 2.0
    assert store["loc"].item() == 1.0


def test_a_binding_is_of_one_store(store):
    other = ParamStore()
    with store.bind({"loc": torch.tensor(2.0)}), other.bind({"x": torch.tensor(3.0)}):
        assert store["loc"].item() == 2.0
        assert other["x"].item() == 3.0
    with store.bind({}):
        assert other.read("x", 5.0).item() == 5.0


def test_a_binding_serves_one_block_at_a_time(store):
    binding = store.bind({"loc": torch.tensor(2.0)})
    with binding, pytest.raises(RuntimeError, match="in use"), binding:
        pass
    with binding:
        assert store["loc"].item() == 2.0


def test_threads_do_not_see_each_others_bindings(store):
    gate, seen = threading.Barrier(4), {}

    def work(number):
        with store.bind({"loc": torch.tensor(float(number))}):
            gate.wait()
            seen[number] = store["loc"].item()
            gate.wait()

    def unbound():
        seen["unbound"] = store["loc"].item()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.bind({"loc": torch.tensor(9.0)}):
        thread = threading.Thread(target=unbound)
        thread.start()
        thread.join()
    assert seen == {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0, "unbound": 1.0}
