"""Settings of the current context: one frozen record, replaced as a whole, never edited in place.

A thread or an asyncio task that starts with a fresh context starts with the defaults.

Example:
    >>> from aleator import settings
    >>> settings.get().validate
    True
    >>> with settings.override(validate=False):
    ...     settings.get().validate
    False
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, final

__all__ = ["Settings", "enable_validation", "get", "override", "update", "validation_enabled"]


@final
@dataclass(frozen=True, slots=True)
class Settings:
    """What a context has switched on.

    Attributes:
        validate: check distribution arguments, observed values, shapes, names and the match of model and guide.
    """

    validate: bool = True


_CURRENT: ContextVar[Settings] = ContextVar("aleator_settings", default=Settings())  # noqa: B039  # frozen


def get() -> Settings:
    """Return the settings of the current context."""
    return _CURRENT.get()


def update(**changes: Any) -> None:  # noqa: ANN401  # fields have many types
    """Replace settings of the current context by name; an unknown name raises ``TypeError``."""
    _CURRENT.set(replace(_CURRENT.get(), **changes))


@contextmanager
def override(**changes: Any) -> Iterator[Settings]:  # noqa: ANN401  # fields have many types
    """Replace settings for the extent of a ``with`` block."""
    token = _CURRENT.set(replace(_CURRENT.get(), **changes))
    try:
        yield _CURRENT.get()
    finally:
        _CURRENT.reset(token)


def enable_validation(flag: bool = True) -> None:
    """Switch validation on or off in the current context, independently of torch's own switch."""
    update(validate=bool(flag))


@final
class _ValidationScope:
    """A context manager that sets the validation flag and puts the outer one back."""

    def __init__(self, flag: bool) -> None:
        self._flag = flag
        self._outer: list[Settings] = []

    def __enter__(self) -> None:
        self._outer.append(_CURRENT.get())
        update(validate=self._flag)

    def __exit__(self, *exception: object) -> None:
        _CURRENT.set(self._outer.pop())


def validation_enabled(flag: bool | None = None) -> Any:  # noqa: ANN401  # two forms: a query and a context manager
    """Ask for the validation flag (no argument), or set it for a ``with`` block (one argument).

    Example:
        >>> import aleator
        >>> with aleator.validation_enabled(False):
        ...     aleator.validation_enabled()
        False
    """
    return _CURRENT.get().validate if flag is None else _ValidationScope(flag)
