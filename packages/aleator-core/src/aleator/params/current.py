"""The current store: the one that was entered last in this context, else the process's default one."""

from __future__ import annotations

from aleator.params.store import STORES, ParamStore

__all__ = ["clear_param_store", "current_store", "get_param_store"]

_DEFAULT = ParamStore()


def current_store() -> ParamStore:
    """Return the store that ``param`` reads: the innermost ``with store:`` of this context, else the default one.

    Example:
        >>> from aleator.params import ParamStore, current_store
        >>> with ParamStore() as store:
        ...     current_store() is store
        True
        >>> current_store() is store
        False
    """
    stores = STORES.get()
    return stores[-1] if stores else _DEFAULT


def get_param_store() -> ParamStore:
    """Return the current store."""
    return current_store()


def clear_param_store() -> None:
    """Remove all parameters and buffers of the current store."""
    current_store().clear()
