"""Tables of a chain that are laid out alike are stacked at once, whichever layouts take turns."""

from __future__ import annotations

import itertools

import pytest
import torch

from aleator_enum_discrete.engine.chain_stacking import stack_chain
from aleator_enum_discrete.engine.plan import ChainSum
from aleator_enum_discrete.engine.semirings import LOG
from aleator_enum_discrete.engine.tables import align

STATES, BATCH, LENGTH = 3, 4, 12
VARIABLES = tuple(f"z{step}" for step in range(LENGTH))
LAYOUTS = {
    "one": lambda step, before, after: (before, after),
    "turns": lambda step, before, after: (before, after) if step % 2 else (after, before),
    "three": lambda step, before, after: [(before, after), (after, before), ("data", after, before)][step % 3],
    "first": lambda step, before, after: ("data", before, after) if step == 0 else (before, after),
}


def chain(layout):
    sizes = {"data": BATCH, **dict.fromkeys(VARIABLES, STATES)}
    pairs = [layout(step, *pair) for step, pair in enumerate(itertools.pairwise(VARIABLES))]
    names = [*pairs, *(("data", variable) for variable in VARIABLES)]
    generator = torch.Generator().manual_seed(4)
    tables = [torch.randn([sizes[name] for name in each], generator=generator).requires_grad_() for each in names]
    places = range(len(pairs)), range(len(pairs), len(names))
    groups = [tuple((place,) for place in each) for each in places]
    step = ChainSum(
        operands=tuple(range(len(names))),
        summed=VARIABLES,
        names=("data",),
        pairs=groups[0],
        unary=groups[1],
        operand_names=tuple(names),
        size=BATCH * STATES**2 * LENGTH,
    )
    return step, tables


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_step_keeps_its_own_table(name):
    """Would catch steps that change places when layouts take turns, and a table transposed."""
    step, tables = chain(LAYOUTS[name])
    transition, observation = stack_chain(step, tables, LOG)
    pairs = list(itertools.pairwise(VARIABLES))
    for place, pair in enumerate(pairs):
        expected = align(tables[place], step.operand_names[place], ("data", *pair))
        assert torch.equal(transition[place], expected.expand_as(transition[place]))
    assert torch.equal(observation, torch.stack(tables[len(pairs) :]))
    weights = torch.arange(1.0, LENGTH).reshape(-1, 1, 1, 1)
    found = torch.autograd.grad((transition * weights).sum(), tables[: len(pairs)])
    repeats = transition.shape[1]
    for place, gradient in enumerate(found):
        own = 1 if "data" in step.operand_names[place] else repeats
        assert torch.equal(gradient, torch.full_like(gradient, (place + 1.0) * own))


def test_the_operations_do_not_grow_with_the_steps(monkeypatch):
    """Would catch tables permuted one by one: with two layouts in turn a chain of any length takes two of them."""
    from aleator_enum_discrete.engine import chain_stacking

    calls = []
    monkeypatch.setattr(chain_stacking, "align", lambda *given: calls.append(1) or align(*given))
    step, tables = chain(LAYOUTS["turns"])
    stack_chain(step, tables, LOG)
    assert len(calls) == 3  # two layouts of pairs, one of single variables
