"""The making of a parameter: what may be an initial value, and that it is used once."""

import threading

import pytest
import torch
from torch.distributions import constraints
from torch.fx.experimental.proxy_tensor import make_fx

from aleator.errors import ParameterError
from aleator.params import ParamStore


@pytest.fixture
def store():
    return ParamStore()


def test_a_callable_is_called_once_and_without_a_graph(store):
    calls = []

    def init():
        calls.append(torch.is_grad_enabled())
        return torch.ones(2, requires_grad=True) * 2

    value = store.read("x", init)
    store.read("x", init)
    assert calls == [False]
    assert value.is_leaf
    assert value.tolist() == [2.0, 2.0]


def test_the_initial_tensor_is_copied(store):
    init = torch.zeros(2, requires_grad=True)
    value = store.read("x", init)
    assert value is not init
    with torch.no_grad():
        init += 1
    assert value.tolist() == [0.0, 0.0]
    assert store.read("expanded", torch.zeros(()).expand(3)).is_contiguous()


def test_a_number_becomes_a_tensor_of_the_default_dtype(store):
    assert store.read("x", 2).dtype is torch.get_default_dtype()
    assert store.read("y", lambda: 0.5, constraints.unit_interval).item() == 0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64])
def test_the_dtype_of_the_initial_value_is_kept(store, dtype):
    assert store.read("x", torch.ones(2, dtype=dtype)).dtype is dtype


@pytest.mark.parametrize(
    ("value", "constraint", "message"),
    [
        (torch.tensor([1.0, -2.0]), constraints.positive, r"'x'.*positive, found -2.0"),
        (torch.tensor([0.2, 0.2]), constraints.simplex, r"'x'.*simplex, found \[0.2"),
        (torch.tensor([[0.5, 0.5], [0.2, 0.2]]), constraints.simplex, r"'x'.*simplex, found \[0.2"),
        (torch.tensor(1.0), constraints.half_open_interval(0.0, 1.0), "'x'.*half_open_interval.*found 1.0"),
        (torch.tensor([1.0, 0.0]), constraints.nonnegative, "'x': 0.0 lies on the edge"),
        (torch.tensor([1.0, 0.0]), constraints.simplex, "'x': .*lies on the edge"),
        (torch.tensor([1.0, float("nan")]), None, "'x' must be finite, found nan"),
        (torch.tensor(float("inf")), constraints.positive, "'x' must be finite, found inf"),
        (torch.tensor([1, 2]), None, "'x'.*torch.int64"),
        (torch.tensor(True), None, "'x'.*torch.bool"),
        (torch.tensor(1.0), constraints.boolean, "'x': no transform leads to the constraint boolean"),
        (torch.tensor(1.0), constraints.lower_cholesky, "'x'.*shape.*lower_cholesky"),
        (torch.tensor(1.0), 3, "'x': expected a constraint"),
        ("1", None, "'x': expected a tensor, a number, or a callable.*found a str"),
        (lambda: None, None, "'x'.*found a NoneType"),
        (True, None, "'x'.*found a bool"),
        (torch.ones(2, device="meta"), None, "'x' cannot be stored"),
        (
            torch.tensor(1.0),
            constraints.greater_than(torch.tensor(0.0, requires_grad=True)),
            "'x': a bound of its constraint .*requires grad",
        ),
    ],
)
def test_a_value_that_cannot_be_stored_is_named_and_nothing_is_stored(store, value, constraint, message):
    with pytest.raises(ParameterError, match=message):
        store.read("x", value, constraint)
    assert "x" not in store
    assert store.read("x", 1.0).item() == 1.0


def test_a_failing_callable_stores_nothing_and_may_be_tried_again(store):
    with pytest.raises(RuntimeError, match="no luck"):
        store.read("x", lambda: (_ for _ in ()).throw(RuntimeError("no luck")))
    assert store.read("x", 1.0).item() == 1.0


def test_a_callable_may_read_other_parameters_but_not_its_own(store):
    assert store.read("y", lambda: store.read("x", 1.0) + 1).item() == 2.0
    with pytest.raises(ParameterError, match="'z': its initial value reads the parameter itself"):
        store.read("z", lambda: store.read("z", lambda: torch.tensor(1.0)))
    assert "z" not in store


def test_a_parameter_born_in_inference_mode_can_be_trained(store):
    with torch.inference_mode():
        store.read("x", lambda: torch.ones(2), constraints.positive)
        store["y"] = 1.0
        store["y"] = 2.0
    loss = store["x"].sum() * store["y"]
    loss.backward()
    assert store.unconstrained("x").grad.tolist() == [2.0, 2.0]
    torch.optim.SGD([leaf for _, leaf in store.named_parameters()], 0.1).step()


def test_nothing_is_stored_from_inside_a_transform(store):
    with pytest.raises(ParameterError, match="'x' cannot be"):
        torch.func.grad(lambda u: store.read("x", u))(torch.tensor(1.0))
    with pytest.raises(ParameterError, match="'x' cannot be"):
        torch.func.grad(lambda u: store.read("x", torch.tensor(1.0)) * u)(torch.tensor(1.0))
    with pytest.raises(ParameterError, match="'x' cannot be"):
        torch.func.vmap(lambda u: store.read("x", u))(torch.ones(3))
    with pytest.raises(ParameterError, match="'x' cannot be"):
        make_fx(lambda u: store.read("x", u * 1) * u, tracing_mode="fake")(torch.ones(3))
    assert len(store) == 0


def test_threads_that_race_for_a_name_call_its_initial_value_once():
    """Would catch a check and a store that are two steps: each thread waits at the gate inside the callable's read."""
    for _ in range(20):
        store, gate, calls, seen = ParamStore(), threading.Barrier(8), [], []

        def init(calls=calls):
            calls.append(threading.get_ident())
            return torch.zeros(3)

        def work(store=store, gate=gate, seen=seen, init=init):
            gate.wait()
            seen.append(store.read("x", init))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(calls) == 1
        assert len({id(value) for value in seen}) == 1


def test_a_slow_initial_value_holds_the_others_off():
    store, inside, calls, seen = ParamStore(), threading.Event(), [], []

    def slow():
        calls.append("slow")
        inside.set()
        second.join(timeout=0.05)  # the other thread has every chance to overtake
        return 1.0

    def other():
        inside.wait()
        seen.append(store.read("x", lambda: calls.append("other") or 2.0))

    second = threading.Thread(target=other)
    second.start()
    first = store.read("x", slow)
    second.join()
    assert calls == ["slow"]
    assert seen[0] is first
