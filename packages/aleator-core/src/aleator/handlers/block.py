"""Hide sites from the handlers further out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar, final, overload

from aleator.messenger import Messenger
from aleator.sites import Site

__all__ = ["BlockMessenger", "block"]

P = ParamSpec("P")
R = TypeVar("R")

Predicate = Callable[[Site], object]
Names = Collection[str]


@final
class BlockMessenger(Messenger):
    """Hide the sites for which a rule holds; they run all the same, and handlers inside see them."""

    def __init__(self, hides: Predicate) -> None:
        self.hides = hides

    def process_sample(self, site: Site) -> None:
        """Stop the site here where the rule says so."""
        if self.hides(site):
            site.stop = True

    process_param = process_subsample = process_plate = process_markov = process_sample


def hiding_rule(
    hide_fn: Predicate | None,
    expose_fn: Predicate | None,
    hide: Names | None,
    expose: Names | None,
    hide_types: Names | None,
    expose_types: Names | None,
) -> Predicate:
    """Return the one predicate that the arguments of ``block`` come to.

    Raises:
        ValueError: where arguments contradict each other.
    """
    if hide_fn is not None and expose_fn is not None:
        raise ValueError("block takes hide_fn or expose_fn, not both; write the rule as one function")
    if hide_fn is not None:
        return hide_fn
    if expose_fn is not None:
        return lambda site: not expose_fn(site)
    for what, hidden, exposed in (("site", hide, expose), ("type", hide_types, expose_types)):
        both = sorted(set(hidden or ()) & set(exposed or ()))
        if both:
            raise ValueError(f"block is told both to hide and to expose the {what} {both[0]!r}")
    hide_others = _hides_others(hide, expose, hide_types, expose_types)
    hidden_names, hidden_types = frozenset(_names(hide)), frozenset(_names(hide_types))
    exposed_names, exposed_types = frozenset(_names(expose)), frozenset(_names(expose_types))

    def hides(site: Site) -> bool:
        types = _types(site)
        if site.name in hidden_names or not hidden_types.isdisjoint(types):
            return True
        return hide_others and site.name not in exposed_names and exposed_types.isdisjoint(types)

    return hides


def _hides_others(
    hide: Names | None, expose: Names | None, hide_types: Names | None, expose_types: Names | None
) -> bool:
    """Whether a site that no argument mentions is hidden: the last argument that is given says it."""
    if expose_types is not None or hide_types is not None:
        return expose_types is not None
    return expose is not None or hide is None


def _names(given: Names | None) -> Names:
    return () if given is None else (given,) if isinstance(given, str) else given


def _types(site: Site) -> tuple[str, ...]:
    """The types that a site answers to: data are "observe", and a plate's draw of a minibatch is a "sample" too."""
    if site.type == "sample":
        return ("observe",) if site.is_observed else ("sample",)
    return ("subsample", "sample") if site.type == "subsample" else (site.type,)


@overload
def block(
    fn: None = None,
    hide_fn: Predicate | None = None,
    expose_fn: Predicate | None = None,
    hide: Names | None = None,
    expose: Names | None = None,
    hide_types: Names | None = None,
    expose_types: Names | None = None,
) -> BlockMessenger: ...
@overload
def block(
    fn: Callable[P, R],
    hide_fn: Predicate | None = None,
    expose_fn: Predicate | None = None,
    hide: Names | None = None,
    expose: Names | None = None,
    hide_types: Names | None = None,
    expose_types: Names | None = None,
) -> Callable[P, R]: ...
def block(
    fn: Callable[..., Any] | None = None,
    hide_fn: Predicate | None = None,
    expose_fn: Predicate | None = None,
    hide: Names | None = None,
    expose: Names | None = None,
    hide_types: Names | None = None,
    expose_types: Names | None = None,
) -> Any:
    """Hide sites from the handlers further out; without arguments, all of them.

    A hidden site runs, and handlers inside see it. Types are those of ``Site.type`` (``"sample"``, ``"param"``,
    ``"subsample"`` ...) with one more: an observed sample site is of type ``"observe"``, not of type ``"sample"``.
    A ``"subsample"`` site answers to ``"sample"`` too.

    Args:
        fn: the function to handle.
        hide_fn: a predicate of sites; nothing else then counts. Not together with ``expose_fn``.
        expose_fn: the other way round: what it does not pick is hidden.
        hide: names to hide; other sites then stay visible.
        expose: names to leave visible; all others are hidden.
        hide_types: types to hide; other sites then stay visible.
        expose_types: types to leave visible; all others are hidden.

    Raises:
        ValueError: where one name or type is to be hidden and exposed.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     aleator.sample("a", dist.Normal(0.0, 1.0))
        ...     aleator.sample("b", dist.Normal(0.0, 1.0))
        >>> handlers.trace(handlers.block(model, hide=["a"])).get_trace().stochastic_nodes
        ['b']
    """
    messenger = BlockMessenger(hiding_rule(hide_fn, expose_fn, hide, expose, hide_types, expose_types))
    return messenger if fn is None else messenger(fn)
