"""Draws as a file, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from aleator.errors import CheckpointError
from aleator.params.files import MapLocation, read_checkpoint, write_checkpoint
from aleator.sites import PlateFrame
from aleator_posterior.columns import Columns, DenseColumn, Entry, RaggedColumn
from aleator_posterior.draws import Draws
from aleator_posterior.site_description import SiteDescription

__all__ = ["decode_draws", "encode_draws", "load_draws", "save_draws"]

_KIND = "aleator.draws"
_TABLES = ("values", "log_likelihoods", "subsamples")


def save_draws(path: str | os.PathLike[str], draws: Draws) -> None:
    """Write draws to a file, whole: values, weights, chains, log-likelihoods, minibatches, what is known of sites.

    Data that all draws share are written once.

    Raises:
        OSError: the file cannot be written; what was there stays.

    Example:
        >>> import tempfile, torch
        >>> from aleator_posterior import Draws, load_draws, save_draws
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_draws(f"{folder}/draws.pt", Draws({"z": torch.arange(3.0)}))
        ...     load_draws(f"{folder}/draws.pt").values["z"]
        tensor([0., 1., 2.])
    """
    write_checkpoint(path, encode_draws(draws), _KIND)


def load_draws(path: str | os.PathLike[str], map_location: MapLocation = None) -> Draws:
    """Read what :func:`save_draws` wrote; no code in the file is run.

    Args:
        path: the file.
        map_location: where the tensors go, as in ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, foreign, or of another kind.
    """
    return decode_draws(path, read_checkpoint(path, _KIND, map_location))


def encode_draws(draws: Draws) -> dict[str, Any]:
    """Return draws as tensors and plain data."""
    tables: dict[str, Any] = {name: _encode_table(getattr(draws, name)) for name in _TABLES}
    return {**tables, "log_weights": draws.log_weights, "chain_ids": draws.chain_ids}


def decode_draws(path: str | os.PathLike[str], payload: Mapping[str, Any]) -> Draws:
    """Return the draws that :func:`encode_draws` encoded.

    Raises:
        CheckpointError: the payload is none of its.
    """
    try:
        log_weights, chain_ids = payload["log_weights"], payload["chain_ids"]
        count = len(log_weights)
        values, log_likelihoods, subsamples = (_decode_table(payload[name], count) for name in _TABLES)
        return Draws.of_columns(values, log_likelihoods, subsamples, log_weights, chain_ids.to("cpu"))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged: it holds no draws ({error}); use an earlier copy") from error


def _encode_table(columns: Columns) -> list[Any]:
    return [(name, *_encode_column(columns, name)) for name in columns]


def _encode_column(columns: Columns, name: str) -> tuple[Any, ...]:
    column = columns.column(name)
    if isinstance(column, DenseColumn):
        kept = column.tensor[:1] if column.is_shared else column.tensor
        return "dense", kept, column.is_shared, _encode_description(column.description)
    entries = [(entry.place, entry.value, _encode_description(entry.description)) for entry in column.entries()]
    return "ragged", entries


def _encode_description(about: SiteDescription) -> tuple[Any, ...]:
    return about.role, tuple(tuple(frame) for frame in about.frames), about.event_dim


def _decode_table(rows: list[Any], count: int) -> Columns:
    return Columns({name: _decode_column(kind, rest, count) for name, kind, *rest in rows}, count)


def _decode_column(kind: str, rest: list[Any], count: int) -> DenseColumn | RaggedColumn:
    if kind == "ragged":
        return RaggedColumn(Entry(place, value, _decode_description(about)) for place, value, about in rest[0])
    kept, is_shared, about = rest
    tensor: Tensor = kept.expand(count, *kept.shape[1:]) if is_shared else kept
    if tensor.shape[0] != count:
        raise ValueError(f"a column has {tensor.shape[0]} rows for {count} draws")
    return DenseColumn(tensor, _decode_description(about))


def _decode_description(fields: tuple[Any, ...]) -> SiteDescription:
    role, frames, event_dim = fields
    return SiteDescription(role, tuple(PlateFrame(*frame) for frame in frames), event_dim)
