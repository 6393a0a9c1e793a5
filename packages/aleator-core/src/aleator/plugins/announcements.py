"""Saying what failed: one warning per plugin and process, or under strict mode an exception every time."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import final

from aleator.errors import PluginLoadError, PluginWarning
from aleator.plugins.attribution import warn_caller
from aleator.plugins.plugin import Plugin
from aleator.plugins.switches import DISABLE, STRICT

__all__ = ["Announcements"]


@final
class Announcements:
    """Remembers which plugins were spoken of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def announce(self, plugins: Iterable[Plugin], *, strict: bool) -> None:
        """Warn about each plugin that failed, once; or raise for the first one.

        Raises:
            PluginLoadError: ``strict`` is set and a plugin has failed.
        """
        for plugin in plugins:
            if not plugin.failures:
                continue
            reasons = "; ".join(failure.reason for failure in plugin.failures)
            if strict:
                raise PluginLoadError(f"plugin {plugin.record.label}: {reasons} ({STRICT} is set)") from (
                    plugin.failures[0].error
                )
            if self.mark(plugin):
                warn_caller(
                    f"plugin {plugin.record.label}: {reasons}. All else works; "
                    f"'python -m aleator.plugins -v' shows more, {DISABLE}={plugin.record.distribution} silences this.",
                    PluginWarning,
                )

    def mark(self, plugin: Plugin) -> bool:
        """Note that a plugin was spoken of; False where it had been already."""
        with self._lock:
            if plugin.record.key in self._said:
                return False
            self._said.add(plugin.record.key)
            return True
