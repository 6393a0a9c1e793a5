"""Run a guide once for each combination of values of its sequentially enumerated sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

from aleator.messenger import Messenger
from aleator_enum_discrete.enum_messenger import CHOSEN, Choice
from aleator_enum_discrete.enumerated_dims import ENUMERATED

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["EarlierDraws", "next_choices"]


def next_choices(choices: Sequence[Choice]) -> list[Choice] | None:
    """Return the choices to run next after these were met; ``None`` where all have been.

    Example:
        >>> next_choices([Choice("a", 0, 2), Choice("b", 2, 3)])
        [Choice(name='a', index=1, size=2)]
        >>> next_choices([Choice("a", 1, 2)]) is None
        True
    """
    remaining = list(choices)
    while remaining and remaining[-1].index == remaining[-1].size - 1:
        remaining.pop()
    if not remaining:
        return None
    last = remaining.pop()
    return [*remaining, replace(last, index=last.index + 1)]


@final
class EarlierDraws(Messenger):
    """Gives the sites before the first choice that differs the draws that they had in the run before.

    Args:
        guide_trace: the run before.
        choices: what the next run is about.
    """

    def __init__(self, guide_trace: Trace, choices: Sequence[Choice]) -> None:
        self._values = {}
        changed = choices[-1].name
        for name, site in guide_trace.nodes.items():
            if name == changed:
                break
            is_chosen = site._stash is not None and (CHOSEN in site._stash or ENUMERATED in site._stash)
            if site.type == "sample" and not site.is_observed and not is_chosen:
                self._values[name] = site.value

    def process_sample(self, site: Site) -> None:
        """Set the draw where the program gives none."""
        if site.value is None and site.name in self._values:
            site.value = self._values[site.name]
            site.done = True
