"""The table of the compiled steps, the marks, and how far the machine can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import geometric_mean, median
from typing import TYPE_CHECKING

from bench.compiled.programs import PROGRAMS
from bench.contract import Spread

if TYPE_CHECKING:
    from bench.compiled.run import Figures

__all__ = ["markdown"]


def markdown(found: Mapping[str, Figures], reference: Sequence[float]) -> str:
    """Times per step, seconds to the first step, and the marks."""
    rows = list(next(iter(found.values())).seconds)
    pairs = [(mine, peer) for mine, peer, _, _, _ in MARKS if mine in rows and peer in rows]
    pairs = list(dict.fromkeys(pairs))
    lines = ["Microseconds per step:", ""]
    lines += _table(
        ["program", *rows, *(f"{mine} / {peer}" for mine, peer in pairs)],
        [
            [PROGRAMS[name].title]
            + [_microseconds(Spread.of(figures.seconds[row])) for row in rows]
            + [_ratio(figures, mine, peer) for mine, peer in pairs]
            for name, figures in found.items()
        ],
    )
    lines += [
        "",
        "Seconds to the first step, in a first process by the wall, and in later ones (what those imported):",
        "",
    ]
    lines += _table(
        ["program", *rows], [[PROGRAMS[name].title, *_firsts(figures, rows)] for name, figures in found.items()]
    )
    lines += ["", "Loss of the first step, and the mean of the first 50:", ""]
    lines += _table(
        ["program", *rows],
        [[PROGRAMS[name].title, *(_losses(figures.losses[row]) for row in rows)] for name, figures in found.items()],
    )
    lines += ["", *_marks(found), "", _noise(reference), ""]
    return "\n".join(lines)


# (row, peer, which programs, the largest geometric mean of the ratios, the largest single ratio)
MARKS = (
    ("aleator_compiled", "numpyro", "small", 0.3, None),
    ("aleator_compiled", "numpyro", "all", 1.0, 1.3),
    ("aleator_compiled", "pyro_jit", "small", 0.05, None),
    ("aleator_compiled_run", "numpyro_scan", "all", 1.0, None),
)
FIRST_STEP = "aleator_compiled"
SECONDS_TO_FIRST_STEP = 0.5


def _marks(found: Mapping[str, Figures]) -> Iterable[str]:
    for mine, peer, which, mark, most in MARKS:
        ratios = [
            median(_ratios(figures, mine, peer))
            for name, figures in found.items()
            if (which == "all" or PROGRAMS[name].is_small) and mine in figures.seconds and peer in figures.seconds
        ]
        if ratios:
            mean = geometric_mean(ratios)
            line = f"- {mine} / {peer}, {which} programs: geometric mean {mean:.3f}, mark {mark} "
            line += "met" if mean <= mark else "MISSED"
            if most is not None:
                line += f"; largest {max(ratios):.2f}, mark {most} " + ("met" if max(ratios) <= most else "MISSED")
            yield line
    later = [
        median(figures.first[FIRST_STEP][1:]) for figures in found.values() if figures.first.get(FIRST_STEP, [])[1:]
    ]
    if later:  # in a process of several programs the first one alone pays for the imports
        verdict = f"mark {SECONDS_TO_FIRST_STEP} " + ("met" if max(later) <= SECONDS_TO_FIRST_STEP else "MISSED")
        yield f"- first compiled step in a later process: at most {max(later):.2f} s, {verdict}"


def _losses(losses: Sequence[float]) -> str:
    return f"{losses[0]:.7g}, {sum(losses) / len(losses):.4g}"


def _ratios(figures: Figures, mine: str, peer: str) -> list[float]:
    """Block by block: a slow spell of the machine falls on both."""
    return [a / b for a, b in zip(figures.seconds[mine], figures.seconds[peer], strict=True)]


def _ratio(figures: Figures, mine: str, peer: str) -> str:
    spread = Spread.of(_ratios(figures, mine, peer))
    return f"{spread.middle:.3f} [{spread.low:.3f}, {spread.high:.3f}]"


def _firsts(figures: Figures, rows: Sequence[str]) -> list[str]:
    cells = []
    for row in rows:
        first, *later = figures.first[row]
        cell = f"{first:.2f}"
        if later:
            cell += f", {median(later):.2f} ({', '.join(figures.imported[row]) or 'none'})"
        cells.append(cell)
    return cells


def _noise(reference: Sequence[float]) -> str:
    spread = Spread.of(reference)
    return (
        f"Noise: a fixed calculation without any library, timed after every block, took {spread.middle * 1e6:.0f} us, "
        f"interquartile range {spread.relative:.1%}."
    )


def _microseconds(spread: Spread) -> str:
    low, middle, high = (f"{figure * 1e6:.3g}" for figure in (spread.low, spread.middle, spread.high))
    return f"{middle} [{low}, {high}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
