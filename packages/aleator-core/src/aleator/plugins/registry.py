"""Names -> specs -> objects: who provides what, who else wants the name, and what is in the way."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import final

from aleator.errors import AmbiguousPluginError, MissingPluginError, PluginLoadError
from aleator.plugins import absences
from aleator.plugins._official import OFFICIAL
from aleator.plugins.announcements import Announcements
from aleator.plugins.discovery import discover
from aleator.plugins.kinds import KINDS, Kind
from aleator.plugins.manager import HookManager
from aleator.plugins.official_names import OfficialNames
from aleator.plugins.plugin import Plugin
from aleator.plugins.records import PluginRecord
from aleator.plugins.specs import AbstractSpec
from aleator.plugins.suggestions import did_you_mean
from aleator.plugins.switches import Switches, normalized
from aleator.plugins.targets import load_target

__all__ = ["Registry", "current", "refresh"]


@final
class Registry:
    """What one discovery found.

    Args:
        records: the plugins found.
        switches: what the environment asked for.
        official: the table of official names.
        announcements: remembers, for the whole process, which plugins were warned about.
    """

    def __init__(
        self,
        records: Sequence[PluginRecord],
        switches: Switches,
        official: OfficialNames = OFFICIAL,
        announcements: Announcements | None = None,
    ) -> None:
        self.switches = switches
        self.official = official
        self.plugins = tuple(
            Plugin(record, official, disabled=switches.disables(record.distribution, record.entry_point))
            for record in records
        )
        self._announcements = Announcements() if announcements is None else announcements
        self._manager = HookManager()
        self._resolved: dict[tuple[str, str], object] = {}

    def resolve(self, kinds: Sequence[Kind], name: str) -> object:
        """Return the object that a name stands for, importing it at the first use.

        Raises:
            MissingPluginError: the name is official; its distribution is not installed, too old, or disabled.
            PluginLoadError: the plugin, or the target of the name, does not load.
            AmbiguousPluginError: two third parties register the name.
            LookupError: nobody registers the name.
        """
        for kind in kinds:
            if (kind.label, name) in self._resolved:
                return self._resolved[kind.label, name]
        kind, plugin, spec = self.find(kinds, name)
        target = load_target(kind, spec, plugin.record)
        # Two threads may come here together; both get the object that is kept.
        return self._resolved.setdefault((kind.label, name), target)

    def find(self, kinds: Sequence[Kind], name: str) -> tuple[Kind, Plugin, AbstractSpec]:
        """Return who registers a name, without importing its target; raises as ``resolve`` does."""
        provider = self.provider(kinds, name)
        if provider is not None:
            return self._find_official(kinds, name, provider)
        self.load()
        found = list(self._providers(kinds, name))
        if len(found) > 1:
            raise AmbiguousPluginError(_ambiguity(name, [plugin.record for _, plugin, _ in found]))
        if not found:
            raise LookupError(absences.of_third_party(name, self.plugins, self.switches, self._near(kinds, name)))
        return found[0]

    def provider(self, kinds: Sequence[Kind], name: str) -> str | None:
        """Return the official distribution that provides a name, or ``None``."""
        return next(filter(None, (self.official.provider(kind.label, name) for kind in kinds)), None)

    def load(self, kinds: Iterable[Kind] = KINDS) -> None:
        """Load every plugin that is not disabled, ask each for its names, and say once what failed.

        Raises:
            PluginLoadError: under ``ALEATOR_PLUGINS_STRICT=1``, for the first plugin in order that failed.
            AmbiguousPluginError: under it, for the first name that two third parties register.
        """
        self.load_quietly(kinds)
        self.announce()
        if self.switches.strict:
            for name, records in self.conflicts().items():
                raise AmbiguousPluginError(_ambiguity(name, records))

    def load_quietly(self, kinds: Iterable[Kind] = KINDS) -> None:
        """Do what ``load`` does and leave the failures to be read."""
        for plugin in self.plugins:
            plugin.load(self._manager)
            for kind in kinds:
                plugin.specs(kind, self._manager)

    def announce(self) -> None:
        """Warn, once a process, about each plugin that has failed so far; under strict mode raise for the first."""
        self._announcements.announce(self.plugins, strict=self.switches.strict)

    def specs(self, plugin: Plugin, kind: Kind) -> tuple[AbstractSpec, ...]:
        """Return what a loaded plugin registers of one kind, sorted by name."""
        return plugin.specs(kind, self._manager)

    def plugin_infer_keys(self, plugin: Plugin) -> tuple[str, ...]:
        """Return the ``infer`` keys that a loaded plugin declares."""
        return plugin.infer_keys(self._manager)

    def infer_keys(self) -> frozenset[str]:
        """Return the ``infer`` keys that installed plugins declare, official or not."""
        keys: set[str] = set()
        for plugin in self.plugins:
            plugin.load(self._manager)
            keys.update(plugin.infer_keys(self._manager))
        self.announce()
        return frozenset(keys)

    def conflicts(self) -> dict[str, list[PluginRecord]]:
        """Return the names that several loaded third parties register, each with its providers."""
        taken: dict[tuple[str, str], list[PluginRecord]] = {}
        for plugin in self.plugins:
            for kind in KINDS:
                for spec in plugin.specs(kind, self._manager):
                    if self.official.provider(kind.label, spec.name) is None:
                        taken.setdefault((kind.label, spec.name), []).append(plugin.record)
        return {name: records for (_, name), records in sorted(taken.items()) if len(records) > 1}

    def _find_official(self, kinds: Sequence[Kind], name: str, provider: str) -> tuple[Kind, Plugin, AbstractSpec]:
        """Load that distribution alone: a broken third party is not even imported."""
        own = [plugin for plugin in self.plugins if plugin.record.distribution == provider]
        for plugin in own:
            plugin.load(self._manager)
            for kind in kinds:
                for spec in plugin.specs(kind, self._manager):
                    if spec.name == name:
                        self._announcements.announce([plugin], strict=self.switches.strict)
                        return kind, plugin, spec
        failed = next((plugin for plugin in own if plugin.failures), None)
        if failed is not None:
            raise PluginLoadError(absences.of_broken(name, failed)) from failed.failures[0].error
        for kind in KINDS:
            if any(spec.name == name for plugin in own for spec in plugin.specs(kind, self._manager)):
                wanted = " or ".join(wanted.label for wanted in kinds)
                raise LookupError(
                    f"{name!r} of {provider} is of kind {kind.label}, where a name of kind {wanted} belongs"
                )
        loading = next((plugin for plugin in own if plugin.is_under_way), None)
        if loading is not None:
            raise PluginLoadError(absences.of_unfinished(name, loading.record))
        error = PluginLoadError if not own and absences.is_installed(provider) else MissingPluginError
        raise error(absences.of_official(name, provider, own, self.switches))

    def _providers(self, kinds: Sequence[Kind], name: str) -> Iterator[tuple[Kind, Plugin, AbstractSpec]]:
        distribution, colon, bare = name.rpartition(":")
        for plugin in self.plugins:
            if colon and plugin.record.distribution != normalized(distribution):
                continue
            for kind in kinds:
                for spec in plugin.specs(kind, self._manager):
                    if spec.name == bare:
                        yield kind, plugin, spec

    def _near(self, kinds: Sequence[Kind], name: str) -> str:
        known = {spec.name for plugin in self.plugins for kind in kinds for spec in plugin.specs(kind, self._manager)}
        return did_you_mean(name, known)


@final
class _Process:
    """What the process keeps: the last discovery, a cache; and what was warned about, so that it is said once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.registry: Registry | None = None
        self.announcements = Announcements()


_PROCESS = _Process()


def current() -> Registry:
    """Return the process's registry, discovering plugins (by metadata alone) at the first call."""
    registry = _PROCESS.registry
    if registry is None:
        found = Registry(discover(OFFICIAL), Switches.read(), OFFICIAL, _PROCESS.announcements)
        with _PROCESS.lock:
            registry = _PROCESS.registry = _PROCESS.registry or found
    return registry


def refresh() -> None:
    """Forget what was discovered, so that the next lookup sees newly installed plugins and changed variables.

    Classes already handed out stay as they are, and a plugin that was warned about is not warned about again.

    Example:
        >>> from aleator.plugins import refresh
        >>> refresh()
    """
    import importlib

    importlib.invalidate_caches()
    with _PROCESS.lock:
        _PROCESS.registry = None


def _ambiguity(name: str, records: Sequence[PluginRecord]) -> str:
    providers = " and ".join(record.label for record in records)
    qualified = " or ".join(f"'{record.distribution}:{name}'" for record in records)
    return (
        f"{name!r} is registered by {providers}; write {qualified}, import the class from its own package, "
        f"or disable one: ALEATOR_DISABLE_PLUGINS={records[-1].distribution}"
    )
