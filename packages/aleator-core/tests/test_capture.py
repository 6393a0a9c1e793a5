"""Whether tensors hold numbers that can be read now."""

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aleator.capture import values_are_readable


def test_readable_in_ordinary_code():
    assert values_are_readable()
    with torch.no_grad():
        assert values_are_readable()


def test_not_under_transforms():
    seen = []

    def note(x):
        seen.append(values_are_readable())
        return x.sum()

    torch.func.vmap(note)(torch.zeros(2, 2))
    torch.func.grad(note)(torch.zeros(2))
    torch.func.functional_call(torch.nn.Identity(), {}, (torch.zeros(2),))
    make_fx(note)(torch.zeros(2))
    assert seen == [False, False, False]
    assert values_are_readable()


def test_not_under_dynamo():
    seen = []

    def note(x):
        return x + 1 if values_are_readable() else x + 2

    compiled = torch.compile(note, backend="eager", fullgraph=False)
    seen.append(compiled(torch.zeros(1)).item())
    assert seen == [2.0]
