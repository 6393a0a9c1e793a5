"""Whether a model and its guide fit each other: what every estimator wants to know before it returns a number."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import constraints

from aleator import settings, validation
from aleator.distributions import Unit
from aleator.errors import ModelGuideMismatchError, UnsupportedModelError
from aleator.infer.factor import SUMMED_OUT
from aleator.runtime import RUN

if TYPE_CHECKING:
    from aleator.sites import PlateFrame, Site
    from aleator.trace import Trace

__all__ = ["check_match", "check_shapes"]


def check_match(model_trace: Trace, guide_trace: Trace) -> None:
    """Check that a model, replayed against its guide, has the guide's latent sites, with the same shapes.

    Raises:
        ModelGuideMismatchError: naming the sites that one of the two lacks, or the shapes that differ.
        UnsupportedModelError: a ``factor`` in the guide that does not state ``has_rsample``.
    """
    model, guide = model_trace.nodes, guide_trace.nodes
    lacking = [
        name
        for name, site in model.items()
        if site.type == "sample" and not site.is_observed and not _is_latent(guide.get(name)) and not _is_summed(site)
    ]
    extra = []
    for name, site in guide.items():
        if site.type != "sample":
            continue
        if site.is_observed:
            _check_guide_term(site)
        elif name not in model and not site.infer.get("is_auxiliary"):
            extra.append(name)
    if lacking or extra:
        raise ModelGuideMismatchError(_explain_names(lacking, extra))
    if settings.get().validate:
        for name, site in guide.items():
            if site.type == "sample" and not site.is_observed and name in model:
                _check_pair(model[name], site, model_trace, guide_trace)


def check_shapes(trace: Trace, role: str) -> None:
    """Check that every batch dim of every sample site belongs to a plate around it, or is reserved.

    Args:
        trace: a run of the model or of the guide.
        role: ``"model"`` or ``"guide"``, for the message.

    Raises:
        ValueError: naming the site and the dim, with the table of shapes.
    """
    for name, site in trace.nodes.items():
        if site.type != "sample":
            continue
        batch_shape = getattr(site.fn, "batch_shape", None)
        if batch_shape is None:
            continue
        for dim in undeclared_dims(batch_shape, site.frames):
            run = RUN.get()
            if run is None or dim not in run.reserved:
                raise ValueError(
                    f"{role} site {name!r} has batch shape {tuple(batch_shape)}, but no plate declares dim {dim} "
                    f"of size {batch_shape[dim]}; put the site into a plate of that size or declare the dim part of "
                    f"one draw with .to_event({-dim})\n{trace.format_shapes()}"
                )


@lru_cache(maxsize=4096)
def undeclared_dims(batch_shape: torch.Size, frames: tuple[PlateFrame, ...]) -> tuple[int, ...]:
    """Return the dims of a batch shape, wider than 1, that no vectorized plate owns."""
    owned = {frame.dim for frame in frames}
    return tuple(dim for dim in range(-len(batch_shape), 0) if batch_shape[dim] != 1 and dim not in owned)


def _is_latent(site: Site | None) -> bool:
    return site is not None and site.type == "sample" and not site.is_observed


def _is_summed(site: Site) -> bool:
    return site._stash is not None and SUMMED_OUT in site._stash


def _check_guide_term(site: Site) -> None:
    if isinstance(site.fn, Unit) and not site.fn.states_rsample:
        raise UnsupportedModelError(
            f"guide site {site.name!r}: a factor in a guide must say how it depends on the guide's draws; write "
            f"factor({site.name!r}, ..., has_rsample=True) where all of them are reparameterized, else "
            f"has_rsample=False"
        )


def _explain_names(lacking: list[str], extra: list[str]) -> str:
    lines = []
    if lacking:
        lines.append(
            f"the model's latent sites {lacking} are not in the guide: the objective would lack their -log q; sample "
            f"them in the guide, observe them, or hide them from inference with handlers.block"
        )
    if extra:
        lines.append(
            f"the guide's sites {extra} are not in the model; rename them, or mark helpers of the guide with "
            f"infer={{'is_auxiliary': True}}"
        )
    return "; and ".join(lines)


def _check_pair(model_site: Site, guide_site: Site, model_trace: Trace, guide_trace: Trace) -> None:
    model_fn, guide_fn = model_site.fn, guide_site.fn
    if model_fn.event_shape != guide_fn.event_shape or not _same_batch(model_fn.batch_shape, guide_fn.batch_shape):
        raise ModelGuideMismatchError(
            f"site {model_site.name!r} has batch shape {tuple(model_fn.batch_shape)} and event shape "
            f"{tuple(model_fn.event_shape)} in the model, but {tuple(guide_fn.batch_shape)} and "
            f"{tuple(guide_fn.event_shape)} in the guide; use the same plates and the same .to_event(n) in both\n"
            f"{model_trace.format_shapes('Model shapes:')}\n{guide_trace.format_shapes('Guide shapes:')}"
        )
    if isinstance(guide_site.value, Tensor) and _needs_support_check(model_fn, guide_fn):
        validation.check_support(model_site.name, model_fn.support, guide_site.value)


def _same_batch(left: torch.Size, right: torch.Size) -> bool:
    """Compare batch shapes; a dim that is missing on the left counts as 1, and reserved dims are nobody's."""
    if left == right:
        return True
    width = max(len(left), len(right))
    run = RUN.get()
    reserved = run.reserved if run is not None else {}
    padded = ((1,) * (width - len(shape)) + tuple(shape) for shape in (left, right))
    return all(sizes[0] == sizes[1] or dim in reserved for dim, sizes in enumerate(zip(*padded, strict=True), -width))


def _needs_support_check(model_fn: Any, guide_fn: Any) -> bool:  # noqa: ANN401  # any two distributions
    """Tell whether the guide may draw values that the model cannot score."""
    model_support = getattr(model_fn, "support", None)
    if model_support is None:
        return False
    model_base, guide_base = _base(model_support), _base(getattr(guide_fn, "support", None))
    return model_base is not guide_base and model_base is not constraints.real


def _base(support: Any) -> Any:  # noqa: ANN401  # any constraint
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support
