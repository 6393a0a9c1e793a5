"""What an estimator does with two programs, as rows of data and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from aleator.sites import PlateFrame

__all__ = ["Explanation", "SiteRow"]


@final
@dataclass(frozen=True, slots=True)
class SiteRow:
    """One site of one of the two programs.

    Attributes:
        site: its name.
        program: ``"guide"`` or ``"model"``.
        role: ``"latent"``, ``"observed"`` or ``"auxiliary"``.
        plates: the plates around it, the outermost first, with sizes and subsample sizes.
        distribution: the family.
        batch_shape, event_shape: of the distribution, plates included.
        gradient: the rule by which its draw is differentiated; empty where it has no draw in this program.
        kl: ``"analytic"``, or ``"Monte Carlo"`` and why.
        score_costs: what its score is multiplied by; empty where it has no score.
        scale: the handlers' scale and the plates', as ``"2 x 1.5"``; empty where both are 1.
        mask: which elements count; empty for all.
        baseline: what is taken from the score's costs.
        more: further columns of the estimator.
        problems: what the first step would raise about it.
    """

    site: str
    program: str
    role: str
    plates: tuple[PlateFrame, ...]
    distribution: str
    batch_shape: tuple[int, ...]
    event_shape: tuple[int, ...]
    gradient: str = ""
    kl: str = ""
    score_costs: str = ""
    scale: str = ""
    mask: str = ""
    baseline: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Explanation:
    """What an estimator will do with a model and a guide; ``str`` gives the table.

    Attributes:
        estimator: the estimator, as it shows itself.
        rows: the sites of the guide, then those of the model.
        problems: what the first step would raise; empty where it would go through.
        sums: what is computed beside the sites' terms, and at what cost.
    """

    estimator: str
    rows: tuple[SiteRow, ...]
    problems: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.estimator, *_table([_cells(row) for row in self.rows])]
        if self.sums:
            lines += ["", *self.sums]
        if self.problems:
            lines += ["", "The first step would raise:", *(f"- {problem}" for problem in self.problems)]
        return "\n".join(lines)


def _cells(row: SiteRow) -> dict[str, str]:
    return {
        "site": row.site,
        "in": row.program,
        "role": row.role,
        "plates": ", ".join(_plate(frame) for frame in row.plates),
        "distribution": row.distribution + _shapes(row.batch_shape, row.event_shape),
        "gradient": row.gradient,
        "kl": row.kl,
        "score costs": row.score_costs,
        "scale": row.scale,
        "mask": row.mask,
        "baseline": row.baseline,
        **row.more,
        "problem": "yes" if row.problems else "",
    }


def _plate(frame: PlateFrame) -> str:
    if frame.dim is None:
        return f"{frame.name}[turn {frame.counter} of {frame.size}]"
    part = str(frame.size) if frame.size == frame.full_size else f"{frame.size} of {frame.full_size}"
    return f"{frame.name}[{part}]"


def _shapes(batch: Sequence[int], event: Sequence[int]) -> str:
    """Show batch dims left of a bar and event dims right of it; nothing for a scalar."""
    if not batch and not event:
        return ""
    left, right = (" ".join(str(size) for size in shape) for shape in (batch, event))
    return f" ({left} | {right})" if event else f" ({left})"


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Lay rows out in aligned columns; a column that is empty throughout is left out."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    kept = [name for name in names if name == "site" or any(row.get(name) for row in rows)]
    widths = {name: max(len(name), *(len(row.get(name, "")) for row in rows), 0) for name in kept}
    lines = [{name: name for name in kept}, *rows]
    return ["  ".join(f"{line.get(name, ''):<{widths[name]}}" for name in kept).rstrip() for line in lines]
