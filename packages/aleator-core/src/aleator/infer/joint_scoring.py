"""The log-probabilities of many sites: small ones that are alike are scored together, a hundred as one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from torch import Tensor

from aleator.distributions.arguments import broadcast_shapes
from aleator.distributions.stacking import stack, stack_tensors, stacking_kind
from aleator.scoring import known_log_prob, repeated_over, score_site
from aleator.sites import Site

__all__ = ["LEAST_SITES", "MOST_ELEMENTS", "score_sites"]

LEAST_SITES = 4
"""From so many sites that are alike on, one operation for all costs less than one for each."""

MOST_ELEMENTS = 4096
"""Up to this size of a log-probability an operation costs mostly its call; beyond, stacking copies too much."""

Scores = tuple[Tensor, Tensor]


def score_sites(sites: Iterable[Site]) -> Mapping[str, Scores]:
    """Return what :func:`aleator.scoring.score_site` returns for each sample site, by name.

    Sites without a mask whose laws are of one family, and whose arguments and values have the same shapes, are scored
    in one go; nothing else about them needs to agree.

    Raises:
        ValueError: naming the site, where a distribution cannot score its value.
    """
    found: dict[str, Scores | None] = {}
    alike: dict[Hashable, list[Site]] = {}
    for site in sites:
        kind = _kind(site)
        if kind is None:
            found[site.name] = score_site(site)
        else:
            found[site.name] = None  # keeps the sites' order
            alike.setdefault(kind, []).append(site)
    for group in alike.values():
        together = _score_together(group) if len(group) >= LEAST_SITES else None
        for place, site in enumerate(group):
            found[site.name] = score_site(site) if together is None else (together[place], together[place])
    return found  # type: ignore[return-value]  # every None has been replaced


def _kind(site: Site) -> Hashable | None:
    """Return what sites must have in common to be scored together; ``None`` for one that is scored by itself."""
    value = site.value
    if site.mask is not None or value.__class__ is not Tensor:
        return None
    law = stacking_kind(site.fn)
    if law is None:
        return None
    known = known_log_prob(site)
    if known is not None:
        return law, known.kind, known.lacks_plates
    fn = site.fn
    event = fn._event_shape
    if event and value.shape[value.dim() - len(event) :] != event:
        return None
    try:
        size = broadcast_shapes(value.shape, fn._batch_shape + event).numel()
    except RuntimeError:
        return None  # alone it raises the error that names it
    return (law, value.shape, value.dtype, value.device) if size <= MOST_ELEMENTS else None


def _score_together(sites: Sequence[Site]) -> Sequence[Tensor] | None:
    """Return the log-probabilities of sites of one kind; ``None`` where one of them has to say what is wrong."""
    first = sites[0]
    known = known_log_prob(first)
    laws = [site.fn for site in sites]
    batch_shape = first.fn._batch_shape
    try:
        if known is not None:
            log_probs = known.of(stack(laws), 1)
        else:
            event_dim = len(first.fn._event_shape)
            batch_dim = max(len(batch_shape), first.value.dim() - event_dim)
            values = stack_tensors([site.value for site in sites], batch_dim + event_dim)
            log_probs = stack(laws, batch_dim).log_prob(values)
    except (ValueError, RuntimeError, IndexError):
        return None
    if known is None or not known.lacks_plates:
        log_probs = repeated_over(log_probs, batch_shape, outer=1)
    return log_probs.unbind(0)
