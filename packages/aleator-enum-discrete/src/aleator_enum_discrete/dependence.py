"""On which latent sites each site of an enumerated pair depends; and whether it may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from aleator import randomness
from aleator.errors import UnsupportedModelError
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer.dependency import DependencyTracker
from aleator.infer.source_marker import SourceMarker
from aleator.runtime import Run
from aleator.scoring import is_deterministic
from aleator.stash import StashKey
from aleator.validation import PendingChecks
from aleator_enum_discrete.enum_messenger import CHOSEN
from aleator_enum_discrete.enumerated_dims import DIM_NAMES, ENUMERATED
from aleator_enum_discrete.program_cache import ProgramCache
from aleator_enum_discrete.program_pair import Program, ProgramPair
from aleator_svi_elbo.tracing import Pair, entered

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["PARENTS", "DrawnPair", "Parents", "needs_parents", "note_parents", "parents_of_draws"]

Parents = Mapping[str, frozenset[str]]

PARENTS: StashKey[frozenset[str]] = StashKey("parents")
"""On the sample sites of a pair, where it matters: the latent sites that the factor depends on, itself included."""


def needs_parents(pair: Pair) -> bool:
    """Whether terms must know what they depend on: draws count by it, and markov steps are held to it."""
    for site in pair.guide_trace.nodes.values():
        if site.type != "sample" or is_deterministic(site):
            continue
        stash = site._stash
        enumerated = None if stash is None else stash.get(ENUMERATED)
        if enumerated is not None:
            if not enumerated.is_exact:
                return True
        elif stash is not None and CHOSEN in stash:
            if any(frame.dim is not None for frame in site.frames):
                return True
        elif not site.fn.has_rsample or site.infer.get("gradient") == "score":
            return True
    return any(
        site._stash is not None and ENUMERATED in site._stash and site.markov_frames
        for trace in pair
        for site in trace.nodes.values()
    )


def note_parents(programs: ProgramPair, pair: Pair) -> None:
    """Put what each site depends on into its stash, found by one run on the same values for each structure.

    Raises:
        UnsupportedModelError: naming a site that depends on a step outside of its markov window.
    """
    key = programs.key()
    shape = tuple(tuple(map(_outline, _sample_sites(trace))) for trace in pair)
    found = _CACHE.get((key, shape))
    if found is None:
        found = _find(programs, pair)
        for parents, trace in zip(found, pair, strict=True):
            _check_windows(parents, trace)
        _CACHE.put((key, shape), found)
    for parents, trace in zip(found, pair, strict=True):
        for site in _sample_sites(trace):
            site.stash[PARENTS] = parents[site.name]


def _outline(site: Site) -> Any:  # noqa: ANN401  # hashable
    enumerated = site.stash.get(ENUMERATED)
    return site.name, site.frames, site.is_observed, None if enumerated is None else enumerated.dim


def _sample_sites(trace: Trace) -> list[Site]:
    return [site for site in trace.nodes.values() if site.type == "sample" and not is_deterministic(site)]


class DrawnPair(NamedTuple):
    """A run of a pair on drawn values, and on which of them each site depends.

    Attributes:
        of_model, of_guide: the latent sites that each factor depends on, itself included.
        model_trace, guide_trace: the runs.
    """

    of_model: Parents
    of_guide: Parents
    model_trace: Trace
    guide_trace: Trace


def parents_of_draws(programs: ProgramPair) -> DrawnPair:
    """Run a pair once without enumeration, and find on which draws each site depends; randomness is left as it was."""
    tracker = DependencyTracker()
    with randomness.preserve(), Run(checks=PendingChecks(keep=False)), torch.no_grad(), tracker:
        guide_trace, of_guide = _watch(programs.guide, programs, tracker, None)
        tracker.control = frozenset()
        model_trace, of_model = _watch(programs.model, programs, tracker, guide_trace)
    return DrawnPair(of_model, of_guide, model_trace, guide_trace)


def _find(programs: ProgramPair, pair: Pair) -> tuple[Parents, Parents]:
    tracker = DependencyTracker()
    with randomness.preserve(), Run(checks=PendingChecks(keep=False)), torch.no_grad(), tracker:
        of_guide = _watch(programs.guide, programs, tracker, pair.guide_trace)[1]
        tracker.control = frozenset()
        of_model = _watch(programs.model, programs, tracker, pair.model_trace)[1]
    for trace, found in ((pair.guide_trace, of_guide), (pair.model_trace, of_model)):
        missing = [site.name for site in _sample_sites(trace) if site.name not in found]
        if missing:
            raise UnsupportedModelError(
                f"site {missing[0]!r} was not met when the program ran again on the same values, so what its terms "
                f"depend on cannot be told; let the program depend on its arguments and draws alone"
            )
    return of_model, of_guide


def _watch(
    program: Program, programs: ProgramPair, tracker: DependencyTracker, trace: Trace | None
) -> tuple[Trace, Parents]:
    marker = SourceMarker(tracker)
    replayed = () if trace is None else (ReplayMessenger(trace=trace),)
    with TraceMessenger() as again, marker, entered((*replayed, *programs.around)):
        program(*programs.args, **programs.kwargs)
    found = {}
    for site in _sample_sites(again):
        # What the program read on the host is in what the marker noted when the site was met.
        tracker.control = frozenset()
        data = (site.value, site.mask, site.scale) if site.is_observed else (site.mask, site.scale)
        own = frozenset() if site.is_observed else frozenset((site.name,))
        found[site.name] = marker.parents.get(site.name, frozenset()) | tracker.of(data) | own
    return again, found


def _check_windows(parents: Parents, trace: Trace) -> None:
    """Refuse a dependence on an enumerated site that its markov context has let go of: its dim means another there."""
    for site in _sample_sites(trace):
        names = site.stash.get(DIM_NAMES) or {}
        for parent in parents[site.name]:
            source = trace.nodes.get(parent)
            enumerated = None if source is None else source.stash.get(ENUMERATED)
            if source is None or enumerated is None or names.get(enumerated.dim) == parent:
                continue
            histories = [frame.history for frame in source.markov_frames] or [0]
            raise UnsupportedModelError(
                f"site {site.name!r} depends on the enumerated site {parent!r}, which is outside its markov window "
                f"(history={max(histories)}): its values would be taken for those of another step; state a larger "
                f"history, or pass what is needed on through the steps between"
            )


_CACHE: ProgramCache[tuple[Parents, Parents]] = ProgramCache()
