"""Parameters: where they are kept, read, bound for one run, saved and loaded."""

from __future__ import annotations

from aleator.params.current import clear_param_store, current_store, get_param_store
from aleator.params.store import ParamStore

__all__ = ["ParamStore", "clear_param_store", "current_store", "get_param_store"]
