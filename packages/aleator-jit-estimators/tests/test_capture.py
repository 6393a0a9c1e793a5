"""What a recording is made on, and what it leaves behind."""

from __future__ import annotations

import pytest
import torch

from aleator_jit_estimators.capture import capture
from aleator_jit_estimators.recorder import UnrecordableError

BASE = torch.arange(24.0).reshape(4, 6)
VIEWS = {
    "contiguous": BASE,
    "column": BASE[:, 2],
    "steps": BASE[1::2, ::3],
    "transposed": BASE.t(),
    "expanded": BASE[0].expand(3, 6),
    "one number expanded": torch.tensor(2.0).expand(5),
    "empty": BASE[:0],
    "scalar": torch.tensor(1.0),
    "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("name", VIEWS)
def test_inputs_keep_their_strides(name):
    """Catches a package that is built for a dense copy of its input and then reads past every second number."""
    value = VIEWS[name]
    recorded = capture(lambda x: (x * 2.0,), [value], ())
    (example,) = recorded.inputs
    assert (example.shape, example.stride()) == (value.shape, value.stride())
    assert example.untyped_storage().data_ptr() != value.untyped_storage().data_ptr() or not value.numel()
    torch.testing.assert_close(recorded.graph(value)[0], value * 2.0)


def test_digest_is_of_what_is_computed():
    """Catches a digest that sees operators only: numbers, wiring, literals and dtypes count."""
    programs = [
        lambda x, y: (x + y,),
        lambda x, y: (x - y,),
        lambda x, y: (y - x,),
        lambda x, y: (x * 2.0 - y,),
        lambda x, y: (x * 3.0 - y,),
        lambda x, y: (x * torch.tensor(2.0) - y,),
        lambda x, y: (x * torch.tensor(3.0) - y,),
        lambda x, y: (x * torch.tensor(3.0, dtype=torch.float64) - y,),
        lambda x, y: (x + y, x),
        lambda x, y: (x + y, y),
        lambda x, y: (x + torch.rand(()) * y,),
        lambda x, y: (x + torch.randn(()) * y,),
    ]
    inputs = [torch.ones(3), torch.ones(3)]
    digests = [capture(program, inputs, ()).digest for program in programs]
    assert len(set(digests)) == len(programs)
    assert digests == [capture(program, inputs, ()).digest for program in programs]


def test_draws_that_nobody_uses_stay():
    """Catches a stream that stands elsewhere after a compiled step."""
    recorded = capture(lambda x: (torch.rand(2), x + 1.0)[1:], [torch.ones(3)], ())
    torch.manual_seed(0)  # the stream under test
    torch.rand(2)
    expected = torch.rand(())
    torch.manual_seed(0)  # as above
    inputs = [torch.ones(3)] if recorded.noise is None else [torch.ones(3), recorded.noise.draw(None)]
    recorded.graph(*inputs)
    assert torch.rand(()) == expected


def test_tensors_from_nowhere_are_refused():
    """Catches a tensor that is held for ever: nobody can tell when its owner puts another in its place."""
    hidden = torch.ones(3)
    with pytest.raises(UnrecordableError, match="cannot be told where it comes from"):
        capture(lambda x: (x + hidden,), [torch.ones(3)], ())
    assert capture(lambda x: (x + hidden,), [torch.ones(3)], [hidden]).lifted == (0,)
