"""Where a latent site's part of the bound is an analytic divergence, and why not where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aleator.distributions import kl_divergence
from aleator.distributions.joint_shapes import broadcast_shapes
from aleator.errors import ModelGuideMismatchError
from aleator.infer import Factor, Role
from aleator.infer.structure import SITE_STRUCTURE
from aleator_svi_elbo.agreement import note_difference

if TYPE_CHECKING:
    from aleator.infer import SiteStructure
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["ancestors_of", "divergence", "divergences", "obstacle", "reasons_to_draw"]

ANALYTIC_RULES = (None, "pathwise")


def divergences(model_trace: Trace, guide_trace: Trace) -> dict[str, Factor]:
    """Return, for each latent site that allows it, ``KL(q || p)`` in the place of log q; log p is then left out.

    Raises:
        ModelGuideMismatchError: naming a site whose scale or mask in the model is not that in the guide.
    """
    found = {}
    ancestors = ancestors_of(guide_trace)
    for name, guide_site in guide_trace.nodes.items():
        if guide_site.type != "sample" or guide_site.is_observed:
            continue
        model_site = model_trace.nodes.get(name)
        if model_site is None or obstacle(model_site, guide_site, ancestors) is not None:
            continue
        kl = divergence(model_site, guide_site)
        if kl is not None:
            found[name] = _as_factor(guide_site, kl)
    return found


def reasons_to_draw(model_trace: Trace, guide_trace: Trace) -> Mapping[str, str]:
    """Return why a latent site's term is estimated by its draw, for each site where it is."""
    known = divergences(model_trace, guide_trace)
    ancestors = ancestors_of(guide_trace)
    found = {}
    for name, site in guide_trace.nodes.items():
        if site.type == "sample" and not site.is_observed and name not in known:
            other = model_trace.nodes.get(name)
            reason = "auxiliary" if other is None else obstacle(other, site, ancestors)
            found[name] = reason or f"no rule {_family(site.fn)} to {_family(other and other.fn)}"
    return found


def _family(fn: Any) -> str:  # noqa: ANN401  # any distribution
    return type(getattr(fn, "base_dist", fn) if type(fn).__name__ == "Independent" else fn).__name__


def obstacle(model_site: Site, guide_site: Site, ancestors: Mapping[str, frozenset[str]]) -> str | None:
    """Say in a few words why a site's term cannot be integrated, apart from a divergence that nobody knows.

    The divergence is the mean of log q - log p over this draw, given all that the two distributions look at. It may
    stand for that difference only where nothing that they look at depends on the draw (the mean-field condition).
    """
    rule = guide_site.infer.get("gradient")
    if rule not in ANALYTIC_RULES:
        return f"rule {rule}"
    if guide_site.mask is False:
        return "masked out"
    if frozenset(model_site.frames) != frozenset(guide_site.frames):
        return "other plates in the model"
    if _learned_transforms(guide_site.fn, model_site.fn):
        return "learned transform"
    name = guide_site.name
    for source in _sources(model_site) | _sources(guide_site):
        if name in ancestors.get(source, ()):
            return f"q({source}) uses it"
    return None


def divergence(model_site: Site, guide_site: Site) -> Tensor | None:
    """Return the masked divergence over the batch shape; ``None`` where there is no rule for the two distributions.

    Raises:
        ModelGuideMismatchError: naming the site whose scale or mask in the model is not that in the guide.
    """
    q, p = guide_site.fn, model_site.fn
    try:
        kl: Any = kl_divergence(q, p)
    except NotImplementedError:
        return None
    _require_equal("scale", model_site.scale, guide_site)
    _require_equal("mask", _mask(model_site), guide_site)
    shape = q.batch_shape
    if p.batch_shape != shape:
        shape = broadcast_shapes(p.batch_shape, shape)
    if not isinstance(kl, Tensor):
        kl = torch.as_tensor(kl, dtype=guide_site.value.dtype, device=guide_site.value.device)
    if kl.shape != shape:
        # A number that lacks a dim of the batch counts once for each of its elements.
        kl = kl.expand(broadcast_shapes(kl.shape, shape))
    mask = guide_site.mask
    return torch.where(mask, kl, torch.zeros((), dtype=kl.dtype, device=kl.device)) if isinstance(mask, Tensor) else kl


def _learned_transforms(q: Any, p: Any) -> bool:  # noqa: ANN401  # any distributions
    """Tell whether the two are made by transforms that are not the same objects, and that have a gradient.

    The rule for such distributions compares transforms by their numbers, and forgets them where they are equal, as
    they may be at the start; the parameters in them would have no gradient.
    """
    of_q, of_p = _transforms(q), _transforms(p)
    if len(of_q) == len(of_p) and all(one is other for one, other in zip(of_q, of_p, strict=True)):
        return False
    return any(_has_gradient(transform) for transform in (*of_q, *of_p))


def _transforms(fn: Any) -> list[Any]:  # noqa: ANN401  # any distribution, or none
    found: list[Any] = []
    while fn is not None:
        # Families that are written out (LogNormal) make their transforms when asked; they have rules of their own.
        state = getattr(fn, "__dict__", {})
        found.extend(state.get("transforms", ()))
        fn = state.get("base_dist")
    return found


def _has_gradient(transform: Any) -> bool:  # noqa: ANN401  # any transform
    values = [*vars(transform).values()]
    if isinstance(transform, torch.nn.Module):
        values += transform.parameters()
    parts = vars(transform).get("parts", [])
    return any(isinstance(value, Tensor) and value.requires_grad for value in values) or any(map(_has_gradient, parts))


def ancestors_of(guide_trace: Trace) -> Mapping[str, frozenset[str]]:
    """Return for each latent site of a guide the sites from which its draw comes, itself included."""
    found: dict[str, frozenset[str]] = {}
    for name, site in guide_trace.nodes.items():
        structure = _structure(site)
        if structure is not None and not site.is_observed:
            found[name] = frozenset((name,)).union(*_known(structure.value_depends_on, found))
    return found


def _known(names: Iterable[str], found: Mapping[str, frozenset[str]]) -> list[frozenset[str]]:
    return [found[name] for name in names if name in found]


def _structure(site: Site) -> SiteStructure | None:
    return None if site._stash is None else site._stash.get(SITE_STRUCTURE)


def _sources(site: Site) -> frozenset[str]:
    """The values at which a site's distribution looks, beside its own."""
    structure = _structure(site)
    assert structure is not None, "the driver has annotated the sites"
    found = structure.factor_depends_on
    return structure.value_depends_on if len(found) == 1 else (found | structure.value_depends_on) - {site.name}


def _mask(site: Site) -> Tensor | bool:
    return True if site.mask is None else site.mask


def _require_equal(what: str, of_model: Any, guide_site: Site) -> None:  # noqa: ANN401  # numbers and tensors
    of_guide = _mask(guide_site) if what == "mask" else guide_site.scale
    if of_model is of_guide:
        return
    if isinstance(of_model, Tensor) or isinstance(of_guide, Tensor):
        first, second = torch.as_tensor(of_model), torch.as_tensor(of_guide)
        if _broadcasts(first, second):
            reason = f"the {what} must be the same in the model and in the guide, or use Trace_ELBO"
            note_difference(guide_site.fn, f"{what} in the model less {what} in the guide", first, second, reason)
            return
    elif of_model == of_guide:
        return
    raise ModelGuideMismatchError(
        f"site {guide_site.name!r} has the {what} {_shown(of_model)} in the model, but {_shown(of_guide)} in the "
        f"guide; a divergence has one {what}: give both programs the same handlers.{what}, or use Trace_ELBO"
    )


def _broadcasts(first: Tensor, second: Tensor) -> bool:
    pairs = zip(reversed(first.shape), reversed(second.shape), strict=False)
    return all(left == right or 1 in (left, right) for left, right in pairs)


def _shown(value: Any) -> str:  # noqa: ANN401  # a number or a tensor
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)


def _as_factor(site: Site, kl: Tensor) -> Factor:
    role = Role.AUXILIARY if site.infer.get("is_auxiliary") else Role.LATENT
    return Factor(site.name, role, kl, None, kl, frozenset(site.frames), site.scale, site.mask)
