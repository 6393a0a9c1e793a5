"""Constraints as data, and when two of them say the same."""

import pytest
import torch
from torch.distributions import constraints

from aleator.errors import CheckpointError, ParameterError
from aleator.params.constraint_codec import decode_constraint, describe_constraint, encode_constraint, same_constraint
from aleator.params.content import checksum

SINGLETONS = [
    name
    for name in constraints.__all__
    if isinstance(getattr(constraints, name), constraints.Constraint) and name != "dependent"
]
PARAMETRISED = [
    constraints.greater_than(0.5),
    constraints.greater_than_eq(-1),
    constraints.less_than(torch.tensor([1.0, 2.0])),
    constraints.interval(torch.tensor(0.0), 1.0),
    constraints.interval(0.0, 3.0),
    constraints.half_open_interval(0.0, 1.0),
    constraints.integer_interval(0, 7),
    type(constraints.nonnegative_integer)(5),
    constraints.multinomial(10),
    constraints.independent(constraints.positive, 2),
    constraints.independent(constraints.independent(constraints.greater_than(2.0), 1), 1),
    constraints.cat([constraints.positive, constraints.unit_interval], dim=-1, lengths=[2, 3]),
    constraints.stack([constraints.positive, constraints.less_than(2.0)], dim=-1),
    constraints.MixtureSameFamilyConstraint(constraints.real),
]


class Odd(type(constraints.positive)):
    """A subclass that keeps its parent's arguments but means something else."""

    def check(self, value):
        return super().check(value) & (value % 2 == 1)


@pytest.mark.parametrize("name", SINGLETONS)
def test_a_singleton_comes_back_as_itself(name):
    constraint = getattr(constraints, name)
    data = encode_constraint(constraint, "x")
    assert data == {"name": name}
    assert decode_constraint(data, "x") is constraint
    assert describe_constraint(constraint) == name


def test_every_singleton_of_torch_is_covered():
    assert {"real", "positive", "simplex", "corr_cholesky", "positive_definite", "one_hot"} <= set(SINGLETONS)


@pytest.mark.parametrize("constraint", PARAMETRISED, ids=describe_constraint)
def test_a_parametrised_one_comes_back_with_its_arguments(constraint):
    data = encode_constraint(constraint, "x")
    checksum(data)  # nothing but plain data and tensors
    back = decode_constraint(data, "x")
    assert type(back) is type(constraint)
    assert same_constraint(back, constraint)
    assert describe_constraint(back) == describe_constraint(constraint)


def test_a_fresh_object_of_a_plain_class_is_its_singleton():
    assert decode_constraint(encode_constraint(type(constraints.simplex)(), "x"), "x") is constraints.simplex


@pytest.mark.parametrize(
    "constraint",
    [
        Odd(0.0),
        constraints.dependent,
        constraints.independent(Odd(0.0), 1),
        constraints.stack([constraints.real, Odd(0.0)]),
        constraints.greater_than("0"),
    ],
)
def test_what_has_no_name_is_refused_with_the_parameters_name(constraint):
    with pytest.raises(ParameterError, match="parameter 'rate' cannot be written"):
        encode_constraint(constraint, "rate")


@pytest.mark.parametrize(
    "data",
    [
        None,
        "positive",
        {"name": "os.system"},
        {"name": "Constraint"},
        {"name": "positive", "arguments": {}},
        {"name": "interval", "arguments": {"lower_bound": 0.0}},
        {"name": "greater_than", "arguments": {"lower_bound": "0"}},
        {"name": "independent", "arguments": {"base_constraint": 3, "reinterpreted_batch_ndims": 1}},
        {"name": ["positive"]},
    ],
)
def test_foreign_data_are_refused_with_the_parameters_name(data):
    with pytest.raises(CheckpointError, match="parameter 'rate'"):
        decode_constraint(data, "rate")


def test_same_means_class_and_arguments():
    assert same_constraint(constraints.positive, constraints.greater_than(0))
    assert not same_constraint(constraints.positive, constraints.nonnegative)
    assert not same_constraint(constraints.greater_than(0.0), constraints.greater_than(1.0))
    assert not same_constraint(constraints.positive, Odd(0.0))
    assert same_constraint(constraints.interval(torch.zeros(2), 1), constraints.interval(torch.zeros(2), 1))
    assert not same_constraint(constraints.interval(torch.zeros(2), 1), constraints.interval(torch.ones(2), 1))
    assert not same_constraint(constraints.interval(torch.zeros(2), 1), constraints.interval(torch.zeros(3), 1))
    assert not same_constraint(
        constraints.independent(constraints.real, 1), constraints.independent(constraints.real, 2)
    )
    assert same_constraint(*(constraints.stack([constraints.real, constraints.positive]) for _ in range(2)))
    assert not same_constraint(constraints.stack([constraints.real]), constraints.stack([constraints.positive]))


def test_same_reads_no_number_of_a_traced_tensor():
    def compare(bound):
        assert same_constraint(constraints.greater_than(bound), constraints.greater_than(torch.zeros(())))
        return bound

    torch.func.vmap(compare)(torch.ones(3))
