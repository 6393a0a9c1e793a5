"""Draws as ArviZ's data structure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aleator.errors import AleatorWarning
from aleator_posterior.columns import Columns
from aleator_posterior.draws import Draws

if TYPE_CHECKING:
    from aleator_posterior.site_description import SiteDescription
    from aleator_posterior.trace_posterior import TracePosterior

__all__ = ["to_arviz"]


def to_arviz(posterior: TracePosterior | Draws) -> Any:  # noqa: ANN401  # arviz.InferenceData: arviz is an extra
    """Return draws as an ``arviz.InferenceData``; needs ``pip install aleator-posterior[arviz]``.

    Groups: ``posterior`` (latent and deterministic sites), ``sample_stats`` (``log_weight``, not normalized),
    ``log_likelihood`` (by datum, masked and not scaled) and ``observed_data``. Dims are ``chain`` and ``draw``, then
    plates by their names, with the plate's indices as coordinates; other dims are ``<site>_dim_<place>``. ArviZ's own
    summaries count all draws alike: resample weighted draws first. Its WAIC is on the log scale: multiply by -2 to
    compare with ``information_criterion``.

    Args:
        posterior: an algorithm that has run, or its ``Draws``.

    Raises:
        ImportError: ArviZ is not installed.
        ValueError: chains of different lengths.
    """
    try:
        arviz = import_module("arviz")
    except ImportError as error:
        raise ImportError("to_arviz needs ArviZ; run: pip install 'aleator-posterior[arviz]'") from error
    draws = posterior if isinstance(posterior, Draws) else posterior.draws
    in_chains = _chains(draws)
    groups: dict[str, dict[str, Any]] = {
        "posterior": {name: in_chains(value) for name, value, _ in _dense(draws.values, "latent", "deterministic")},
        "sample_stats": {"log_weight": in_chains(draws.log_weights)},
        "log_likelihood": {name: in_chains(value) for name, value, _ in _dense(draws.log_likelihoods, "observed")},
        "observed_data": dict(_observed(draws)),
    }
    dims = {name: about.dims(name, value.dim() - 1) for name, value, about in _dense(draws.values)}
    batch_dims = {
        name: replace(about, event_dim=0).dims(name, value.dim() - 1)
        for name, value, about in _dense(draws.log_likelihoods)
    }
    data = arviz.from_dict(
        posterior=groups["posterior"],
        sample_stats=groups["sample_stats"],
        observed_data=groups["observed_data"] or None,
        coords=_coordinates(draws),
        dims={name: list(each) for name, each in dims.items()},
    )
    if groups["log_likelihood"]:
        data.extend(
            arviz.from_dict(
                log_likelihood=groups["log_likelihood"],
                coords=_coordinates(draws),
                dims={name: list(each) for name, each in batch_dims.items()},
            )
        )
    return data


def _dense(columns: Columns, *roles: str) -> Iterator[tuple[str, Tensor, SiteDescription]]:
    """Yield the sites that have one tensor, of these roles (of all but the result where none is given)."""
    for name in columns:
        about = columns.describe(name)
        if about.role == "return" or (roles and about.role not in roles):
            continue
        if columns.is_ragged(name):
            if roles:
                warnings.warn(
                    f"to_arviz leaves out site {name!r}: it has no column with one row per draw",
                    AleatorWarning,
                    stacklevel=3,
                )
            continue
        yield name, columns[name], about


def _observed(draws: Draws) -> Iterator[tuple[str, Any]]:
    for name, value, _ in _dense(draws.values, "observed"):
        if len(draws) and (value.stride(0) == 0 or bool(((value == value[:1]) | (value != value)).all())):
            yield name, value[0].cpu().numpy()


def _chains(draws: Draws) -> Callable[[Tensor], Any]:
    """Return what puts a column's draws into two dims, chain and draw, as an array."""
    chains, lengths = torch.unique(draws.chain_ids, return_counts=True)
    if len(chains) and int(lengths.min()) != int(lengths.max()):
        raise ValueError(f"to_arviz: chains must have one length, but have {lengths.tolist()}")
    order = torch.argsort(draws.chain_ids, stable=True)
    shape = (len(chains), int(lengths[0]) if len(chains) else 0)

    def in_chains(column: Tensor) -> Any:  # noqa: ANN401  # a numpy array: numpy is an extra
        return column.cpu()[order].reshape(*shape, *column.shape[1:]).numpy()

    return in_chains


def _coordinates(draws: Draws) -> dict[str, list[int]]:
    """Return the elements of each plate: its indices where all draws saw the same."""
    found = {}
    for name, frame in draws.plates.items():
        if frame.dim is None:
            continue
        found[name] = list(range(frame.size))
        if name in draws.subsamples and not draws.subsamples.is_ragged(name):
            indices = draws.subsamples[name]
            if len(indices) and bool((indices == indices[:1]).all()):
                found[name] = indices[0].tolist()
    return found
