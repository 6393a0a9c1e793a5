"""Run a model and its guide under enumeration: once, or once for each value of what is enumerated sequentially."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from aleator.infer import analyse
from aleator.infer.structure import forget
from aleator.plates import plate
from aleator_enum_discrete.dependence import needs_parents, note_parents
from aleator_enum_discrete.dim_coloring import DimColoring, with_few_dims
from aleator_enum_discrete.enum_messenger import Choice, EnumMessenger
from aleator_enum_discrete.enumerated_dims import DimAllocator
from aleator_enum_discrete.program_pair import ProgramPair
from aleator_enum_discrete.sequential_runs import EarlierDraws, next_choices
from aleator_svi_elbo.tracing import NestingError, NestingGuard, Pair, SharedSubsample, entered, trace_pair

if TYPE_CHECKING:
    from aleator_svi_elbo import ELBO

__all__ = ["EnumeratedRuns", "trace_enumerated"]


class EnumeratedRuns(NamedTuple):
    """The runs of one particle.

    Attributes:
        pairs: one, or one for each combination of sequential values.
        has_enumerated: whether any site was enumerated.
    """

    pairs: tuple[Pair, ...]
    has_enumerated: bool


def trace_enumerated(estimator: ELBO, programs: ProgramPair) -> EnumeratedRuns:
    """Run both programs with the marked sites enumerated, left of all plates.

    Raises:
        ValueError: naming the plate that does not fit into a stated ``max_plate_nesting``.
    """
    particles = next((each for each in programs.around if isinstance(each, plate)), None)
    if particles is not None and particles.dim is not None:
        return _runs(estimator, programs, particles.dim - 1)
    nesting = estimator.max_plate_nesting
    if not math.isinf(nesting):
        return _guarded(estimator, programs, int(nesting))
    model, guide, args, kwargs, _ = programs
    try:
        return _guarded(estimator, programs, analyse(model, guide, *args, **kwargs).nesting)
    except NestingError:
        # What was found for these programs earlier holds no more: something that they read has changed since.
        forget(model, guide, *args, **kwargs)
    return _guarded(estimator, programs, analyse(model, guide, *args, **kwargs).nesting)


def _guarded(estimator: ELBO, programs: ProgramPair, nesting: int) -> EnumeratedRuns:
    guard = NestingGuard(type(estimator).__name__, nesting)
    return _runs(estimator, programs._replace(around=(guard,)), -nesting - 1)


def _runs(estimator: ELBO, programs: ProgramPair, first_dim: int) -> EnumeratedRuns:
    """Run the pair with a dim for each visible site; where there are too few, sites that never meet share dims."""

    def attempt(coloring: DimColoring | None) -> EnumeratedRuns:
        return _run_choices(estimator, programs, coloring, first_dim)

    return with_few_dims(attempt, programs, first_dim)


def _run_choices(
    estimator: ELBO, programs: ProgramPair, coloring: DimColoring | None, first_dim: int
) -> EnumeratedRuns:
    pairs: list[Pair] = []
    choices: Sequence[Choice] | None = ()
    has_enumerated = False
    while choices is not None:
        dims = DimAllocator(first_dim, coloring)
        in_guide = EnumMessenger(dims, is_guide=True, choices=choices)
        in_model = EnumMessenger(dims)
        same = [SharedSubsample(pairs[0]), EarlierDraws(pairs[-1].guide_trace, choices)] if choices else []
        with entered(same[:1]):
            pair = trace_pair(estimator, *programs, (in_guide, *same[1:]), (in_model,))
        if coloring is not None or needs_parents(pair):
            note_parents(programs, pair)
        pairs.append(pair)
        has_enumerated = has_enumerated or in_guide.has_enumerated or in_model.has_enumerated
        choices = next_choices(in_guide.choices)
    return EnumeratedRuns(tuple(pairs), has_enumerated)
