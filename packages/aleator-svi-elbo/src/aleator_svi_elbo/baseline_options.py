"""What a site of the guide says about its baseline, by ``infer={"baseline": {...}}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from aleator.errors import UnsupportedModelError

if TYPE_CHECKING:
    from aleator.sites import Site

__all__ = ["BaselineOptions", "baseline_options", "baseline_wish"]

_KNOWN = ("nn_baseline", "nn_baseline_input", "use_decaying_avg_baseline", "baseline_beta", "baseline_value")


@final
@dataclass(frozen=True, slots=True)
class BaselineOptions:
    """The baseline of one site; at least one of its three kinds is asked for.

    Attributes:
        site: the site's name.
        nn_baseline: a module or function from its input to one value per element of the site's plates.
        nn_baseline_input: what it is called with, detached: a tensor, or a list, tuple or dict of them.
        use_decaying_avg_baseline: whether a decaying average of the costs is subtracted, beside what else there is.
        baseline_beta: the weight of the past in that average.
        baseline_value: the baseline itself, by number or tensor; a parameter is trained towards the costs.
    """

    site: str
    nn_baseline: Callable[[Any], Any] | None = None
    nn_baseline_input: Any = None
    use_decaying_avg_baseline: bool = False
    baseline_beta: float = 0.9
    baseline_value: Tensor | float | None = None

    def __str__(self) -> str:
        parts = []
        if self.use_decaying_avg_baseline:
            parts.append(f"decaying average (beta {self.baseline_beta:g})")
        if self.nn_baseline is not None:
            named = getattr(self.nn_baseline, "__name__", type(self.nn_baseline).__name__)
            parts.append(f"nn_baseline ({named})")
        if self.baseline_value is not None:
            parts.append("baseline_value")
        return " + ".join(parts)


def baseline_wish(site: Site) -> Any:  # noqa: ANN401  # whatever the program wrote there
    """Return what a site has under ``"baseline"``; nothing, and an empty mapping, are false."""
    return site.infer.get("baseline") if site.infer else None


def baseline_options(site: Site) -> BaselineOptions | None:
    """Return the baseline that a site of the guide asks for.

    Raises:
        UnsupportedModelError: naming the site; an unknown option, options that exclude each other, or values that are
            none (also a ``ValueError``).
    """
    wish = baseline_wish(site)
    if not wish:
        return None
    if not isinstance(wish, Mapping):
        raise _wrong(site, f"expected a dict of options ({', '.join(_KNOWN)}), but found {type(wish).__name__}")
    unknown = [key for key in wish if key not in _KNOWN]
    if unknown:
        near = get_close_matches(str(unknown[0]), _KNOWN, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise _wrong(site, f"unknown option {unknown[0]!r}; the options are {', '.join(_KNOWN)}{hint}")
    options = BaselineOptions(site.name, **{key: value for key, value in wish.items() if value is not None})
    _check(site, options, wish)
    stated = options.baseline_value if options.nn_baseline is None else options.nn_baseline
    return None if stated is None and not options.use_decaying_avg_baseline else options


def _check(site: Site, options: BaselineOptions, wish: Mapping[str, Any]) -> None:
    network, value, beta = options.nn_baseline, options.baseline_value, options.baseline_beta
    if network is not None and value is not None:
        raise _wrong(site, "nn_baseline and baseline_value exclude each other; leave one of them out")
    if network is not None and not callable(network):
        raise _wrong(site, f"nn_baseline must be a module or a function, but is {type(network).__name__}")
    if network is not None and options.nn_baseline_input is None:
        raise _wrong(site, "nn_baseline needs what it is to be called with; state nn_baseline_input")
    if network is None and options.nn_baseline_input is not None:
        raise _wrong(site, "nn_baseline_input is for an nn_baseline, which is not there; state it, or leave both out")
    if not isinstance(options.use_decaying_avg_baseline, bool):
        found = type(options.use_decaying_avg_baseline).__name__
        raise _wrong(site, f"use_decaying_avg_baseline must be True or False, but is {found}")
    if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0.0 <= beta <= 1.0:
        raise _wrong(site, f"baseline_beta must be a number from 0 to 1, but is {beta!r}")
    if "baseline_beta" in wish and "use_decaying_avg_baseline" not in wish:
        raise _wrong(site, "baseline_beta is for the decaying average; state use_decaying_avg_baseline=True as well")
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, Tensor))):
        raise _wrong(site, f"baseline_value must be a tensor or a number, but is {type(value).__name__}")


def _wrong(site: Site, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"guide site {site.name!r}, infer['baseline']: {what}")
