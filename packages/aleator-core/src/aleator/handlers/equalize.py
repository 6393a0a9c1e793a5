"""Make several sites have one value."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, final, overload

from aleator.distributions import Delta
from aleator.errors import UnsupportedModelError
from aleator.handlers.arguments import settle_arguments
from aleator.messenger import Messenger
from aleator.scoring import DETERMINISTIC
from aleator.sites import Site

__all__ = ["EqualizeMessenger", "equalize"]

P = ParamSpec("P")
R = TypeVar("R")


@final
class EqualizeMessenger(Messenger):
    """Give the value of the first site that matches to all later ones."""

    def __init__(self, sites: str | Sequence[str], type: str | None = None, keep_dist: bool = False) -> None:
        self.sites = sites
        self.patterns = [re.compile(pattern) for pattern in ([sites] if isinstance(sites, str) else sites)]
        self.type = "sample" if type is None else type
        if self.type not in ("sample", "param"):
            raise ValueError(f"equalize works on sites of type 'sample' or 'param', but found {type!r}")
        self.keep_dist = keep_dist
        self.first: Site | None = None

    def begin(self) -> EqualizeMessenger:
        """Return a handler of the same sites that has met none of them."""
        return EqualizeMessenger(self.sites, self.type, self.keep_dist)

    def process_sample(self, site: Site) -> None:
        """Set the value of the first site; without ``keep_dist`` the site then only records it."""
        if self.first is None or not self._matches(site):
            return
        if site.is_observed:
            raise UnsupportedModelError(
                f"equalize: site {site.name!r} is observed, and would lose its data to the value of "
                f"{self.first.name!r}; observe {self.first.name!r}, or leave {site.name!r} out of the pattern"
            )
        site.value = self.first.value
        site.is_observed = site.done = True
        if not self.keep_dist:
            site.fn = Delta(site.value, event_dim=len(site.fn.event_shape)).mask(False)
            site.stash[DETERMINISTIC] = True

    def process_param(self, site: Site) -> None:
        """Set the value of the first parameter; the store is neither read nor written for the later ones."""
        if self.first is not None and self._matches(site):
            site.value = self.first.value
            site.done = True

    def postprocess_sample(self, site: Site) -> None:
        """Remember the first site that matches, once its value is known."""
        if self.first is None and self._matches(site):
            self.first = site

    postprocess_param = postprocess_sample

    def _matches(self, site: Site) -> bool:
        return site.type == self.type and any(pattern.fullmatch(site.name) for pattern in self.patterns)


@overload
def equalize(
    fn: str | Sequence[str] | None = None,
    sites: str | Sequence[str] | None = None,
    type: str | None = None,
    keep_dist: bool = False,
) -> EqualizeMessenger: ...
@overload
def equalize(
    fn: Callable[P, R], sites: str | Sequence[str], type: str | None = None, keep_dist: bool = False
) -> Callable[P, R]: ...
def equalize(
    fn: Any = None, sites: str | Sequence[str] | None = None, type: str | None = None, keep_dist: bool = False
) -> Any:
    """Make all sites whose names match have the value of the first of them.

    Args:
        fn: the function to handle.
        sites: a regular expression, or several, for whole names.
        type: ``"sample"`` (the default) or ``"param"``.
        keep_dist: keep the distributions of the later sites, which then score the value: the model is conditioned on
            the sites being equal. Otherwise they only record it.

    Raises:
        UnsupportedModelError: a later site that is observed.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     a = aleator.sample("scale_a", dist.HalfNormal(1.0))
        ...     b = aleator.sample("scale_b", dist.HalfNormal(1.0))
        ...     return a == b
        >>> bool(handlers.equalize(model, "scale_.")())
        True
    """
    program, given = settle_arguments("equalize", fn, sites, "sites")
    messenger = EqualizeMessenger(given, type, keep_dist)
    return messenger if program is None else messenger(program)
