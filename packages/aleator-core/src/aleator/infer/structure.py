"""The structure of a model and its guide: sites, plates, nesting, and which values everything depends on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, final

import torch

from aleator import randomness
from aleator.errors import UnsupportedModelError
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer.dependency import NOTHING, DependencyTracker
from aleator.infer.program_key import program_key
from aleator.infer.reach import NOTHING_REACHED, Reached, reached_by
from aleator.infer.source_marker import SourceMarker
from aleator.runtime import RUN, Run
from aleator.scoring import is_deterministic, score_site
from aleator.stash import StashKey
from aleator.validation import PendingChecks

if TYPE_CHECKING:
    from aleator.sites import PlateFrame, Site
    from aleator.trace import Trace

__all__ = ["SITE_STRUCTURE", "SiteStructure", "Structure", "analyse", "annotate"]

Program = Callable[..., Any]


@final
@dataclass(frozen=True, slots=True)
class SiteStructure:
    """One sample site of a program.

    Attributes:
        name: the site.
        is_observed: whether its value is data.
        has_rsample: whether its draw is pathwise.
        frames: the plates around it.
        batch_shape, event_shape: of its distribution, plates included.
        value_depends_on: the latent sites on which the distribution of the value depends.
        factor_depends_on: the latent sites on which its log-probability or its scale depends, itself included.
        dims: for each reserved dim that is wider than 1 in its log-probability, the sites whose values have it.
        reaches: of a site of the guide, the factors that its draw enters, directly or through later draws.
    """

    name: str
    is_observed: bool
    has_rsample: bool
    frames: tuple[PlateFrame, ...]
    batch_shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    value_depends_on: frozenset[str]
    factor_depends_on: frozenset[str]
    dims: Mapping[int, frozenset[str]]
    reaches: Reached = NOTHING_REACHED


@final
@dataclass(frozen=True, slots=True)
class Structure:
    """What one pass over a model and its guide found.

    Attributes:
        model, guide: their sample sites, in order.
        nesting: how many tensor dims plates and batch shapes take, seen from the right.
    """

    model: Mapping[str, SiteStructure]
    guide: Mapping[str, SiteStructure]
    nesting: int

    def describes(self, model_trace: Trace, guide_trace: Trace) -> bool:
        """Tell whether a run has the sites, plates and shapes of this structure."""
        return _same(self.model, model_trace) and _same(self.guide, guide_trace)


def analyse(model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Structure:  # noqa: ANN401  # the programs' own
    """Run the guide and the model once, and find their structure; the stream of randomness is left as it was.

    Parameters that are new are created, as in any first run. The result is cached by the programs' code objects (with
    ``__self__``) and the arguments' shapes. Who uses it compares each run with ``Structure.describes``, and calls
    ``forget`` and ``analyse`` again on a difference.

    A value that is read on the host (``item``, ``if value:``) can steer the program, and what it would have done on
    another value is not seen: every site after such a read counts as dependent on all latent sites before it. What
    steers a program from outside of its arguments, such as a number in a closure, is not seen at all where sites,
    plates and shapes stay the same: pass it as an argument.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import analyse
        >>> def model():
        ...     a = aleator.sample("a", dist.Normal(0.0, 1.0))
        ...     b = aleator.sample("b", dist.Normal(0.0, 1.0))
        ...     aleator.sample("x", dist.Normal(a, 1.0), obs=torch.tensor(0.0))
        >>> def guide():
        ...     a = aleator.sample("a", dist.Normal(0.0, 1.0))
        ...     aleator.sample("b", dist.Normal(a, 1.0))
        >>> structure = analyse(model, guide)
        >>> sorted(structure.model["x"].factor_depends_on), sorted(structure.guide["b"].value_depends_on)
        (['a'], ['a'])
    """
    key = program_key(model, guide, args, kwargs)
    known = _known(key)
    if known:
        return known[0]
    structure = _analyse(model, guide, args, kwargs)
    _remember(key, structure)
    return structure


SITE_STRUCTURE = StashKey[SiteStructure]("structure")


def annotate(
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    model_trace: Trace,
    guide_trace: Trace,
) -> Structure:
    """Put each site's ``SiteStructure`` into the stash of the sites of a run, under ``SITE_STRUCTURE``.

    The structure is a known one of these programs that has the sites, plates and shapes of the run. Where there is
    none, the run at hand is analysed: the programs run again on its draws, so that they take the same way.

    Raises:
        UnsupportedModelError: the programs took another way on the same draws.
    """
    key = program_key(model, guide, args, kwargs)
    structure = next((each for each in _known(key) if each.describes(model_trace, guide_trace)), None)
    if structure is None:
        structure = _analyse(model, guide, args, kwargs, draws=guide_trace)
        if not structure.describes(model_trace, guide_trace):
            raise UnsupportedModelError(
                f"the model or the guide took another way when it ran again on the same draws: its sites, plates or "
                f"shapes changed, so which values its terms depend on cannot be told; let it depend on its arguments "
                f"and draws alone\n{model_trace.format_shapes()}"
            )
        _remember(key, structure)
    for sites, trace in ((structure.model, model_trace), (structure.guide, guide_trace)):
        for name, site in sites.items():
            trace.nodes[name].stash[SITE_STRUCTURE] = site
    return structure


def _known(key: Any) -> tuple[Structure, ...]:  # noqa: ANN401  # the programs' key
    """Return the structures that these programs have shown, the latest found first."""
    with _lock:
        found = _structures.get(key, ())
        if found:
            _structures.move_to_end(key)
        return found


def _remember(key: Any, structure: Structure) -> None:  # noqa: ANN401  # the programs' key
    with _lock:
        _structures[key] = (structure, *_structures.get(key, ())[: _WAYS - 1])
        _structures.move_to_end(key)
        while len(_structures) > 256:
            _structures.popitem(last=False)


def forget(model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # the programs' own
    """Drop the cached structure of these programs on these arguments."""
    with _lock:
        _structures.pop(program_key(model, guide, args, kwargs), None)


# A program that takes several ways has a structure for each, up to this many.
_WAYS = 16
_structures: OrderedDict[Any, tuple[Structure, ...]] = OrderedDict()
_lock = Lock()


def _analyse(
    model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any], draws: Trace | None = None
) -> Structure:
    tracker = DependencyTracker()
    checks = PendingChecks(keep=False)
    with randomness.preserve(), Run(checks=checks), torch.no_grad(), tracker:
        reserved = dict(RUN.get().reserved)  # type: ignore[union-attr]  # the run entered in the line above
        guide_sites, guide_trace = _watch(guide, tracker, draws, reserved, args, kwargs)
        tracker.control = frozenset()
        model_sites, _ = _watch(model, tracker, guide_trace, reserved, args, kwargs)
    reaches = reached_by(model_sites, guide_sites)
    guide_sites = {name: replace(site, reaches=reaches[name]) for name, site in guide_sites.items()}
    found = [*guide_sites.values(), *model_sites.values()]
    widths = [len(site.batch_shape) for site in found]
    plates = [-frame.dim for site in found for frame in site.frames if frame.dim is not None]
    return Structure(model_sites, guide_sites, max(widths + plates, default=0))


def _watch(
    program: Program,
    tracker: DependencyTracker,
    replayed: Trace | None,
    reserved: Mapping[int, str],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> tuple[dict[str, SiteStructure], Trace]:
    marker = SourceMarker(tracker)
    with TraceMessenger() as trace, marker:
        if replayed is None:
            program(*args, **kwargs)
        else:
            with ReplayMessenger(trace=replayed):
                program(*args, **kwargs)
    sites = {
        name: _describe(site, tracker, marker.parents.get(name, frozenset()), reserved)
        for name, site in trace.nodes.items()
        if site.type == "sample" and not is_deterministic(site)
    }
    return sites, trace


def _describe(
    site: Site, tracker: DependencyTracker, parents: frozenset[str], reserved: Mapping[int, str]
) -> SiteStructure:
    # The program has ended: what it read after this site did not steer this site.
    tracker.control = NOTHING
    log_prob = score_site(site)[1]
    depends = tracker.of((log_prob, site.scale)) | parents
    wide = [dim for dim in reserved if log_prob.dim() >= -dim and log_prob.shape[dim] > 1]
    return SiteStructure(
        site.name,
        site.is_observed,
        bool(getattr(site.fn, "has_rsample", False)),
        site.frames,
        tuple(site.fn.batch_shape),
        tuple(site.fn.event_shape),
        parents - {site.name},
        depends if site.is_observed else depends | {site.name},
        {dim: frozenset(depends) for dim in wide},
    )


def _same(sites: Mapping[str, SiteStructure], trace: Trace) -> bool:
    met = [site for site in trace.nodes.values() if site.type == "sample" and not is_deterministic(site)]
    if len(met) != len(sites):
        return False
    for site in met:
        known = sites.get(site.name)
        if (
            known is None
            or known.frames != site.frames
            or known.is_observed != site.is_observed
            or known.batch_shape != tuple(site.fn.batch_shape)
            or known.event_shape != tuple(site.fn.event_shape)
        ):
            return False
    return True
