"""Run a program for many draws at once, the draws being one tensor dim left of the program's plates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.distributions import Unit
from aleator.errors import UnsupportedModelError
from aleator.handlers.trace import TraceMessenger
from aleator.messenger import Messenger
from aleator.plates import plate
from aleator.scoring import is_deterministic, score_site
from aleator.sites import Site
from aleator.trace import Trace
from aleator_posterior.site_description import SiteDescription

__all__ = ["Outline", "SiteOutline", "disagreement", "log_probs_of", "outline_of", "rows_of", "trace_batched"]

DRAWS = "draws_of_the_run"


class SiteOutline(NamedTuple):
    """What one site looks like in a run for one draw.

    Attributes:
        description: its role, its plates and its event dims.
        batch_shape: of its distribution, plates included; empty for a result.
        shape: of its value; ``None`` where the value is no tensor or number.
    """

    description: SiteDescription
    batch_shape: tuple[int, ...]
    shape: tuple[int, ...] | None


@final
@dataclass(frozen=True, slots=True)
class Outline:
    """What a run for one draw looks like: with it, a run for many is told apart from a run of something else.

    Attributes:
        sites: sample sites, minibatches and the result, in order.
        nesting: how many tensor dims plates and batch shapes take, seen from the right.
    """

    sites: Mapping[str, SiteOutline]
    nesting: int

    def at_nesting(self, nesting: int) -> Outline:
        """Return the same sites with more room for plates, which another program beside this one takes."""
        return Outline(self.sites, nesting)


def outline_of(trace: Trace) -> Outline:
    """Describe a run for one draw.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> from aleator_posterior.batched_runs import outline_of
        >>> def model():
        ...     with aleator.plate("data", 3):
        ...         return aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> outline = outline_of(handlers.trace(model).get_trace())
        >>> outline.nesting, outline.sites["z"].shape
        (1, (3,))
    """
    sites = {name: _outline(site) for name, site in trace.nodes.items() if site.type in _KINDS}
    widths = [len(site.batch_shape) for site in sites.values()]
    dims = [-frame.dim for site in sites.values() for frame in site.description.frames if frame.dim is not None]
    return Outline(sites, max(widths + dims, default=0))


_KINDS = ("sample", "subsample", "return")


def _outline(site: Site) -> SiteOutline:
    batch_shape = tuple(getattr(site.fn, "batch_shape", ())) if site.type == "sample" else ()
    value = site.value
    shape = tuple(value.shape) if isinstance(value, Tensor) else () if isinstance(value, (int, float)) else None
    return SiteOutline(SiteDescription.of(site), batch_shape, shape)


def trace_batched(
    program: Callable[..., Any],
    count: int,
    nesting: int,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    around: Iterable[Messenger] = (),
) -> Trace:
    """Run a program once for ``count`` draws, under a plate whose dim is left of ``nesting`` dims.

    Args:
        program, args, kwargs: what to run.
        count: how many draws.
        nesting: how many dims the program's own plates take.
        around: handlers around the plate, the outermost first.

    Raises:
        UnsupportedModelError: where a plate takes a dim left of the draws, or a batch dim belongs to no plate.
    """
    draws = plate(DRAWS, count, dim=-(nesting + 1))
    with ExitStack() as stack:
        trace = stack.enter_context(TraceMessenger())
        for handler in (*around, draws, _NestingGuard(nesting)):
            stack.enter_context(handler)
        result = program(*args, **(kwargs or {}))
    trace.nodes["_RETURN"] = Site("return", "_RETURN", value=result)
    return trace


@final
class _NestingGuard(Messenger):
    """Refuses a plate left of the draws: its elements would be taken for draws, or the reverse."""

    def __init__(self, nesting: int) -> None:
        self._nesting = nesting

    def postprocess_plate(self, site: Site) -> None:
        """Look at the dim that a plate has got."""
        dim = None if site.value is None else site.value.dim
        if dim is not None and dim < -self._nesting:
            raise UnsupportedModelError(
                f"plate {site.name!r} took dim {dim}, and a run for one draw took {self._nesting} dims only"
            )


def rows_of(trace: Trace, outline: Outline, count: int) -> dict[str, Tensor]:
    """Return the values of a run for ``count`` draws, the draw's dim first, else as in a run for one draw.

    What all draws share is expanded, so that it takes the memory of one. Factors, whose value is nothing, and values
    that are no tensors are left out.

    Raises:
        UnsupportedModelError: naming a site that the run lacks, has too much, or has in another shape.
    """
    met = {name: site for name, site in trace.nodes.items() if site.type in _KINDS}
    if met.keys() != outline.sites.keys():
        names = sorted(met.keys() ^ outline.sites.keys())
        raise UnsupportedModelError(f"the sites {names} are not in every run")
    rows = {}
    for name, site in met.items():
        known = outline.sites[name]
        if site.type == "sample":
            _check_alike(site, known, outline.nesting, count)
        if known.shape is None or isinstance(site.fn, Unit):
            continue
        found = _rows(site, known, outline.nesting, count)
        if found is None:
            shape = tuple(site.value.shape) if isinstance(site.value, Tensor) else type(site.value).__name__
            raise UnsupportedModelError(
                f"{_shown(name)} has shape {known.shape} for one draw and, for {count} draws at once, {shape}"
            )
        rows[name] = found
    return rows


def log_probs_of(trace: Trace, outline: Outline, count: int) -> dict[str, Tensor]:
    """Return the log-probability of each sample site by draw: the draw's dim, then the batch shape for one draw.

    Masked, not scaled; deterministic sites are left out.

    Raises:
        UnsupportedModelError: naming a site whose log-probability does not go by draws.
    """
    found = {}
    for name, site in trace.nodes.items():
        if site.type != "sample" or is_deterministic(site):
            continue
        log_prob, like = score_site(site)[1], outline.sites[name].batch_shape
        if log_prob.numel() != count * torch.Size(like).numel():
            raise UnsupportedModelError(
                f"site {name!r}: its log-probability has batch shape {like} for one draw and, for {count} draws at "
                f"once, {tuple(log_prob.shape)}"
            )
        found[name] = log_prob.reshape(count, *like)
    return found


def disagreement(looped: Trace, rows: Mapping[str, Tensor], log_probs: Mapping[str, Tensor], place: int) -> str | None:
    """Tell what one draw has otherwise in a run of its own than among many: a site, or ``None`` where nothing is.

    Args:
        looped: a run for one draw, on the latent values of that draw.
        rows, log_probs: of a run for many draws.
        place: which of them.
    """
    pairs: list[tuple[str, Tensor, Tensor]] = []
    for name, site in looped.nodes.items():
        if site.type == "sample" and not is_deterministic(site):
            what = f"{_shown(name)} has another log-probability for one draw than among many"
            one, many = score_site(site)[1], log_probs.get(name)
        elif name in rows:
            what = f"{_shown(name)} has another value for one draw than among many"
            one, many = torch.as_tensor(site.value), rows[name]
        else:
            continue
        if many is None or one.shape != many.shape[1:] or one.dtype != many.dtype:
            return what
        pairs.append((what, one, many[place]))
    if _are_close(pairs):
        return None
    return next((pair[0] for pair in pairs if not _are_close([pair])), None)


def _are_close(pairs: Sequence[tuple[str, Tensor, Tensor]]) -> bool:
    """Compare pairs of tensors up to rounding, joined by dtype and device: few operations, however many sites."""
    joined: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = {}
    for _, one, other in pairs:
        ones, others = joined.setdefault((one.dtype, one.device), ([], []))
        ones.append(one.reshape(-1))
        others.append(other.reshape(-1))
    return all(bool(_is_close(torch.cat(ones), torch.cat(others))) for ones, others in joined.values())


def _is_close(one: Tensor, other: Tensor) -> Tensor:
    is_same = one == other
    if one.is_floating_point():
        tolerance = 1e-3 if torch.finfo(one.dtype).eps > 1e-10 else 1e-8
        is_same = is_same | ((one != one) & (other != other))
        is_same = is_same | ((one - other).abs() <= tolerance * (1.0 + other.abs()))
    return is_same.all()


def _shown(name: str) -> str:
    return "the program's result" if name == "_RETURN" else f"site {name!r}"


def _check_alike(site: Site, known: SiteOutline, nesting: int, count: int) -> None:
    """Check that a site of a run for many draws has the role, plates and batch shape of a run for one."""
    about = known.description
    frames = tuple(frame for frame in site.frames if frame.name != DRAWS)
    if SiteDescription.of(site).role != about.role or frames != about.frames:
        raise UnsupportedModelError(f"site {site.name!r} changes its role or its plates from run to run")
    batch_shape = tuple(getattr(site.fn, "batch_shape", ()))
    padded = (count, *(1,) * (nesting - len(known.batch_shape)), *known.batch_shape)
    if about.role != "deterministic" and batch_shape != padded:
        raise UnsupportedModelError(
            f"site {site.name!r} has batch shape {known.batch_shape} for one draw and, for {count} draws at once, "
            f"{batch_shape} in place of {padded}"
        )


def _rows(site: Site, known: SiteOutline, nesting: int, count: int) -> Tensor | None:
    about, shape = known.description, known.shape
    assert shape is not None
    if not isinstance(site.value, (Tensor, int, float)):
        return None
    value = torch.as_tensor(site.value)
    if about.role in ("latent", "observed"):
        event_dim = len(shape) if about.event_dim is None else about.event_dim
        has_draws = value.dim() == nesting + 1 + event_dim
    else:
        has_draws = value.dim() > 0 and value.shape[0] == count and value.shape != shape
    if has_draws and value.shape[0] == count and value.numel() == count * torch.Size(shape).numel():
        return value.reshape(count, *shape)
    if value.shape == shape and about.role != "latent":
        return value.expand(count, *shape)
    if has_draws and value.shape[0] == 1 and value.numel() == torch.Size(shape).numel():
        return value.reshape(1, *shape).expand(count, *shape)
    return None
