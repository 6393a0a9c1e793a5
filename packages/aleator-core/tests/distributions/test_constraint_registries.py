"""Transforms to constraints: torch's, and ours before them."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as td

import aleator.distributions as dist
from aleator.distributions import constraints

KNOWN = [
    constraints.real,
    constraints.positive,
    constraints.unit_interval,
    constraints.interval(-1.0, 2.0),
    constraints.greater_than(1.0),
    constraints.simplex,
    constraints.real_vector,
    constraints.independent(constraints.positive, 1),
    constraints.corr_cholesky,
]


@pytest.mark.parametrize("constraint", KNOWN, ids=repr)
@pytest.mark.parametrize("name", ["biject_to", "transform_to"])
def test_equal_to_torchs(constraint, name):
    ours, theirs = getattr(dist, name)(constraint), getattr(td, name)(constraint)
    x = torch.randn(3)
    assert torch.equal(ours(x), theirs(x))
    assert bool(constraint.check(ours(x)).all())


class Even(constraints.Constraint):
    def check(self, value):
        return value % 2 == 0


def test_own_registrations_are_found_also_inside_and_torch_stays_as_it_was():
    with pytest.raises(NotImplementedError, match="no transform from the reals to"):
        dist.transform_to(Even())

    @dist.transform_to.register(Even)
    def to_even(constraint):
        return dist.AffineTransform(0.0, 2.0)

    assert dist.transform_to(Even())(torch.tensor(3.0)) == 6.0
    assert dist.transform_to(constraints.independent(Even(), 1))(torch.ones(3)).tolist() == [2.0] * 3
    stacked = dist.transform_to(constraints.stack([Even(), constraints.real]))
    assert stacked(torch.ones(2)).tolist() == [2.0, 1.0]
    joined = dist.transform_to(constraints.cat([Even(), constraints.real], 0, [1, 2]))
    assert joined(torch.ones(3)).tolist() == [2.0, 1.0, 1.0]
    with pytest.raises(NotImplementedError):
        td.transform_to(Even())
    with pytest.raises(TypeError, match="a constraint or its type"):
        dist.transform_to.register(int, to_even)


def test_the_simplex_has_two_transforms():
    # transform_to keeps K numbers, one too many; biject_to has K - 1. Files and optimizers depend on which it is.
    assert isinstance(dist.transform_to(constraints.simplex), dist.SoftmaxTransform)
    assert dist.transform_to(constraints.simplex)(torch.zeros(3)).shape == (3,)
    assert isinstance(dist.biject_to(constraints.simplex), dist.StickBreakingTransform)
    assert dist.biject_to(constraints.simplex)(torch.zeros(3)).shape == (4,)


def test_names_are_torchs():
    for name in td.constraints.__all__:
        assert getattr(constraints, name) is getattr(td.constraints, name)
    for name in td.transforms.__all__:
        assert getattr(dist.transforms, name) is getattr(td.transforms, name)


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (constraints.weights, [[1.0, 3.0]], [[0.0, 0.0], [1.0, -1.0], [torch.nan, 1.0], [torch.inf, 1.0]]),
        (
            constraints.finite_logits,
            [[-torch.inf, 3.0]],
            [[-torch.inf, -torch.inf], [0.0, torch.inf], [torch.nan, 1.0]],
        ),
        (
            constraints.factorable,
            [[[2.0, 0.5], [0.5, 1.0]]],
            [[[2.0, 0.5], [0.4, 1.0]], [[1.0, 2.0], [2.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]],
        ),
    ],
)
def test_own_constraints(constraint, good, bad):
    assert constraint.check(torch.tensor(good)).all()
    assert not constraint.check(torch.tensor(bad)).any()
