"""The two ways to write a handler: around a function, or, without one, as a context manager and decorator."""

from __future__ import annotations

from typing import Any

__all__ = ["settle_arguments"]


def settle_arguments(handler: str, fn: Any, given: Any, name: str) -> tuple[Any, Any]:  # noqa: ANN401  # any two
    """Return the function to handle, or ``None``, and the handler's main argument.

    ``condition(data)`` means ``condition(data=data)``: what is no function cannot be meant as one.

    Raises:
        TypeError: without the main argument, or with something in the function's place that is none.
    """
    if given is None and fn is not None and not callable(fn):
        fn, given = None, fn
    if given is None:
        raise TypeError(f"{handler} needs {name}=: write {handler}({name}=...) or {handler}(fn, {name}=...)")
    if fn is not None and not callable(fn):
        raise TypeError(f"{handler} expects a function to handle, but found {type(fn).__name__}")
    return fn, given
