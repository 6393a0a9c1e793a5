"""A model and a guide with what they are called on: what every run of a pair is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aleator.infer.program_key import program_key

if TYPE_CHECKING:
    from aleator.messenger import Messenger

__all__ = ["Program", "ProgramPair"]

Program = Callable[..., Any]


class ProgramPair(NamedTuple):
    """Two programs on arguments.

    Attributes:
        model, guide: the programs.
        args, kwargs: their arguments.
        around: handlers to enter around each program.
    """

    model: Program
    guide: Program
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    around: Sequence[Messenger] = ()

    def key(self) -> Any:  # noqa: ANN401  # hashable
        """Return the programs' name in caches, but for the dims that are reserved now: a failed attempt leaves some."""
        of_model, of_guide, shapes, _reserved, plates = program_key(self.model, self.guide, self.args, self.kwargs)
        return of_model, of_guide, shapes, plates
