"""Lay out the shapes of a trace as a table, batch dims to the left of a bar and event dims to its right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aleator.scoring import score_site

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["format_shape_table"]

Row = tuple[str, str, tuple[int, ...], tuple[int, ...] | None]


def format_shape_table(trace: Trace, title: str, last_site: str | None) -> str:
    """Return the table that ``Trace.format_shapes`` documents."""
    params: list[Row] = []
    samples: list[Row] = []
    for name, site in trace.nodes.items():
        if site.type == "param" and isinstance(site.value, Tensor):
            params.append((name, "", tuple(site.value.shape), None))
        elif site.type == "subsample":
            samples.append((name, "plate", (len(site.value),), None))
        elif site.type == "sample":
            samples.extend(_sample_rows(name, site))
        if name == last_site:
            break
    lines = [title] if title else []
    for heading, rows in ((" Param Sites:", params), ("Sample Sites:", samples)):
        if rows:
            lines.append(heading)
            lines.extend(_layout(rows))
    return "\n".join(lines)


def _sample_rows(name: str, site: Site) -> list[Row]:
    batch = tuple(getattr(site.fn, "batch_shape", ()))
    event = tuple(getattr(site.fn, "event_shape", ()))
    rows: list[Row] = [(name, "dist", batch, event)]
    if isinstance(site.value, Tensor):
        shape = tuple(site.value.shape)
        split = max(0, len(shape) - len(event))
        rows.append(("", "value", shape[:split], shape[split:]))
    try:
        rows.append(("", "log_prob", tuple(score_site(site)[1].shape), ()))
    except (ValueError, RuntimeError):
        pass  # the table explains shapes that do not fit; a score that fails is one of them
    return rows


def _layout(rows: list[Row]) -> list[str]:
    names = max(len(name) for name, _, _, _ in rows)
    kinds = max(len(kind) for _, kind, _, _ in rows)
    left = max(len(batch) for _, _, batch, _ in rows)
    lines = []
    for name, kind, batch, event in rows:
        cells = [""] * (left - len(batch)) + [str(size) for size in batch]
        text = " ".join(f"{cell:>4}" for cell in cells)
        tail = "" if event is None else " | " + " ".join(str(size) for size in event)
        lines.append(f"{name:>{names}} {kind:<{kinds}} {text}{tail}".rstrip())
    return lines
