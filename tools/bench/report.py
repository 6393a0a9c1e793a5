"""The measurement as a markdown table, with the machine's noise beside it."""

from __future__ import annotations

import platform
from statistics import median

from bench.contract import Spread
from bench.measure import CaseFigures, Result

__all__ = ["figures_as_data", "markdown"]


def markdown(result: Result) -> str:
    """The whole report: what ran, one row per case, and how far the machine can be trusted."""
    plan = result.plan
    libraries = list(plan.pythons)
    lines = [_head(result), "", _row(_columns(libraries)), _row(["---"] + ["---:"] * (len(_columns(libraries)) - 1))]
    lines += [_row(_case_cells(figures, libraries)) for figures in result.cases.values()]
    lines += ["", _noise(result), ""]
    return "\n".join(lines)


def figures_as_data(result: Result) -> dict[str, object]:
    """Every single figure, for whoever wants another summary."""
    return {
        "versions": result.versions,
        "validate": result.plan.validate,
        "reference_seconds": result.reference,
        "cases": {
            name: {
                "unit": figures.case.unit,
                "seconds": figures.seconds,
                "operators": figures.operators,
                "disagreement": figures.disagreement,
            }
            for name, figures in result.cases.items()
        },
    }


def _head(result: Result) -> str:
    plan = result.plan
    versions = "; ".join(
        f"{library}: " + ", ".join(f"{name} {number}" for name, number in found.items())
        for library, found in result.versions.items()
    )
    blocks = plan.rounds * plan.restarts
    return (
        f"{platform.machine()}, {platform.system()}, one thread. {versions}. "
        f"Validation {'on' if plan.validate else 'off'}. {plan.clock.capitalize()} time, medians of {blocks} "
        f"alternating blocks ({plan.restarts} processes, {plan.rounds} rounds each) of about {plan.block_seconds:g} s; "
        "quartiles in brackets."
    )


def _columns(libraries: list[str]) -> list[str]:
    first, *peers = libraries
    timed = [f"{library}, us" for library in libraries]
    ratios = [f"{first} / {peer}" for peer in peers]
    return [
        "case", "per", *timed, *ratios, *(["mark", "readings differ by"] if peers else []),
        "operators per run", "host reads per run",
    ]  # fmt: skip


def _case_cells(figures: CaseFigures, libraries: list[str]) -> list[str]:
    first, *peers = libraries
    case = figures.case
    cells = [case.title, case.unit]
    cells += [_microseconds(Spread.of(figures.seconds[library])) for library in libraries]
    cells += [_ratio(Spread.of(figures.ratios(first, peer))) for peer in peers]
    if peers:
        cells.append("" if case.mark is None else f"{case.mark:.2f}")
        cells.append("" if figures.disagreement is None else f"{figures.disagreement:.0e}")
    for what in ("total", "host_reads"):
        cells.append(" / ".join(str(figures.operators[library][what]) for library in libraries))
    return cells


def _noise(result: Result) -> str:
    libraries = list(result.plan.pythons)
    spreads = {library: Spread.of(result.reference[library]) for library in libraries}
    each = "; ".join(
        f"in {library}'s process {spread.middle * 1e6:.0f} us, interquartile range {spread.relative:.1%}"
        for library, spread in spreads.items()
    )
    said = f"Noise: a fixed calculation without either library, timed after every block, took {each}"
    if len(libraries) > 1:
        one, other = (result.reference[library] for library in libraries[:2])
        said += (
            f"; its ratio between the processes {_ratio(Spread.of([a / b for a, b in zip(one, other, strict=True)]))}"
        )
    share = median(result.processor_share)
    return f"{said}. The processor worked on the block for {share:.1%} of its time by the clock (median)."


def _microseconds(spread: Spread) -> str:
    low, middle, high = (_short(figure * 1e6) for figure in (spread.low, spread.middle, spread.high))
    return f"{middle} [{low}, {high}]"


def _ratio(spread: Spread) -> str:
    return f"{spread.middle:.3f} [{spread.low:.3f}, {spread.high:.3f}]"


def _short(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.1f}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
