"""pluggy with the two habits that a plugin system for strangers needs: all or nothing, and one plugin at a time.

pluggy's own ``register`` may leave a plugin half registered, and its hook call loses everybody's results where one
implementation raises.
"""

from __future__ import annotations

import threading
from typing import Any, final

import pluggy

from aleator.plugins import hookspecs

__all__ = ["HookManager", "RegistrationError"]

_HOOKS = tuple(name for name in hookspecs.__all__ if name.startswith("aleator_"))


@final
class RegistrationError(Exception):
    """A plugin's hooks do not fit the hook specifications; nothing of it stays registered."""


@final
class HookManager:
    """Registers plugin modules and calls their hooks one plugin at a time."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("aleator")
        self._manager.add_hookspecs(hookspecs)
        self._lock = threading.Lock()

    def register(self, plugin: object, name: str) -> None:
        """Register a plugin's hooks, all of them or none.

        Raises:
            RegistrationError: a hook is unknown, has arguments, or lacks its marker; or there is no hook at all.
        """
        with self._lock:
            self._reject_unmarked(plugin)
            try:
                self._manager.register(plugin, name=name)
                self._reject_unknown(plugin)
            except BaseException as error:
                if self._manager.get_name(plugin) == name:
                    self._manager.unregister(plugin, name=name)
                if isinstance(error, pluggy.PluginValidationError):
                    raise RegistrationError(_signature_text(plugin, error)) from error
                if isinstance(error, ValueError):
                    raise RegistrationError("another entry point names the same module already") from error
                raise

    def call(self, name: str, hook: str) -> list[Any]:
        """Call one hook of one plugin, and return what each of its implementations returned.

        An implementation that returns ``None`` appears as ``None``: pluggy would drop it without a word.
        """
        with self._lock:
            plugin = self._manager.get_plugin(name)
            others = [other for other in self._manager.get_plugins() if other is not plugin]
            caller = self._manager.subset_hook_caller(hook, others)
            expected = len(caller.get_hookimpls())
        results = caller() if expected else []
        return [*results, *[None] * (expected - len(results))]

    def _reject_unmarked(self, plugin: object) -> None:
        marked = [name for name in dir(plugin) if self._manager.parse_hookimpl_opts(plugin, name) is not None]
        unmarked = sorted(set(_HOOKS).intersection(vars(plugin)) - set(marked)) if hasattr(plugin, "__dict__") else []
        if unmarked:
            raise RegistrationError(f"{unmarked[0]} lacks the marker @aleator.plugins.hookimpl")
        if not marked:
            raise RegistrationError(f"it implements no hook; the hooks are {', '.join(sorted(_HOOKS))}")

    def _reject_unknown(self, plugin: object) -> None:
        for caller in self._manager.get_hookcallers(plugin) or []:
            optional = all(impl.optionalhook for impl in caller.get_hookimpls() if impl.plugin is plugin)
            if not caller.has_spec() and not optional:
                raise RegistrationError(
                    f"it implements an unknown hook {caller.name!r}; the hooks are {', '.join(sorted(_HOOKS))}"
                )


def _signature_text(plugin: object, error: pluggy.PluginValidationError) -> str:
    """Say which hook has which signature; pluggy's own text spans lines and repeats the plugin."""
    lines = str(error).splitlines()
    definition = next((line.partition(": ")[2] for line in lines if line.startswith("hookimpl definition")), "")
    if definition and "Argument(s)" in str(error):
        return f"its hook {definition} takes arguments, and collection hooks take none"
    return " ".join(str(error).split())
