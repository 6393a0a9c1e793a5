"""The joint shape is torch's, and finding it imports nothing."""

from __future__ import annotations

import itertools
import subprocess
import sys

import torch

from aleator.distributions.joint_shapes import broadcast_shapes

SHAPES = [torch.Size(sizes) for dims in range(3) for sizes in itertools.product((0, 1, 2, 3), repeat=dims)]


def joint_or_error(function, shapes):
    try:
        return tuple(function(*shapes))
    except RuntimeError as error:
        return str(error)


def test_joint_shapes_are_those_of_torch():
    for shapes in [(), *itertools.product(SHAPES, repeat=1), *itertools.product(SHAPES, SHAPES, SHAPES[::3])]:
        assert joint_or_error(broadcast_shapes, shapes) == joint_or_error(torch.broadcast_shapes, shapes)
    assert isinstance(broadcast_shapes(torch.Size([2, 1]), torch.Size([3])), torch.Size)


def test_joint_shapes_do_not_import_sympy():
    """``torch.broadcast_shapes`` does at its first call, which takes half a second."""
    code = (
        "import sys, torch, aleator.distributions as dist; dist.Normal(torch.zeros(2, 1), torch.ones(3)).log_prob("
        "torch.zeros(3)); sys.exit('sympy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
