"""The life of one plugin: found, then loaded, failed or disabled; and what it registers."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Any, final

from aleator.plugins.kinds import INFER_KEYS_HOOK, KINDS, Kind
from aleator.plugins.manager import HookManager, RegistrationError
from aleator.plugins.official_names import OfficialNames
from aleator.plugins.records import Failure, PluginRecord, Stage
from aleator.plugins.specs import AbstractSpec

__all__ = ["PLUGIN_API", "Plugin", "Status"]

PLUGIN_API = 1
_UNDER_WAY: ContextVar[frozenset[tuple[str, str]]] = ContextVar("aleator_plugins_under_way", default=frozenset())


@final
class Status(Enum):
    """How far a plugin has come."""

    FOUND = "found"
    LOADED = "ok"
    FAILED = "failed"
    DISABLED = "disabled"


@final
class Plugin:
    """One discovered plugin.

    No lock is held while a plugin's own code runs (its import, its hooks): another thread may be importing the same
    package and be waiting for ours. Two threads may so do the same work; the first result is kept.
    """

    def __init__(self, record: PluginRecord, official: OfficialNames, *, disabled: bool = False) -> None:
        self.record = record
        self.status = Status.DISABLED if disabled else Status.FOUND
        self.failures: tuple[Failure, ...] = ()
        self._official = official
        self._lock = threading.Lock()
        self._collected: dict[str, tuple[Any, ...]] = {}

    def load(self, manager: HookManager) -> None:
        """Import the manifest and register its hooks; whatever goes wrong is recorded.

        Only ``KeyboardInterrupt`` passes, and leaves the plugin as it was found.
        """
        if self.status is not Status.FOUND:
            return
        with _once_per_context(self.record.key, "import") as first:
            if not first:
                return
            failure = self.record.failure
            module: object = None
            if failure is None:
                module, failure = self._import()
                if _is_being_imported(sys.modules.get(self.record.module)):
                    return  # by code further out: half a manifest is no verdict, a later lookup reads it whole
            self._settle(module, failure, manager)

    def specs(self, kind: Kind, manager: HookManager) -> tuple[AbstractSpec, ...]:
        """Return what the plugin registers of one kind, sorted by name."""
        return self._collect(kind.hook, manager)

    def infer_keys(self, manager: HookManager) -> tuple[str, ...]:
        """Return the ``infer`` keys that the plugin reads."""
        return self._collect(INFER_KEYS_HOOK, manager)

    @property
    def is_under_way(self) -> bool:
        """Whether the running code is called, directly or not, from this plugin's own import or hook."""
        return self.status is Status.FOUND or any(key == self.record.key for key, _ in _UNDER_WAY.get())

    def _import(self) -> tuple[object, Failure | None]:
        try:
            plugin: object = importlib.import_module(self.record.module)
            for part in filter(None, self.record.attribute.split(".")):
                plugin = getattr(plugin, part)
            return plugin, _api_failure(getattr(plugin, "ALEATOR_PLUGIN_API", None), self.record)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit too: a plugin must not end the process
            return None, Failure.of(Stage.IMPORT, f"importing {self.record.target}", error)

    def _settle(self, module: object, failure: Failure | None, manager: HookManager) -> None:
        with self._lock:
            if self.status is not Status.FOUND:
                return  # another thread was first
            if failure is None:
                failure = self._register(module, manager)
            self.failures += () if failure is None else (failure,)
            self.status = Status.LOADED if failure is None else Status.FAILED

    def _register(self, module: object, manager: HookManager) -> Failure | None:
        try:
            manager.register(module, self.record.key)
        except RegistrationError as error:
            return Failure(stage=Stage.REGISTRATION, reason=f"it was not registered: {error}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # pluggy inspects objects of the plugin's making
            return Failure.of(Stage.REGISTRATION, "registering it", error)
        return None

    def _collect(self, hook: str, manager: HookManager) -> tuple[Any, ...]:
        if self.status is not Status.LOADED:
            return ()
        known = self._collected.get(hook)
        if known is not None:
            return known
        with _once_per_context(self.record.key, hook) as first:
            if not first:
                return ()
            values, failures = self._call(hook, manager)
            with self._lock:
                if hook not in self._collected:
                    self._collected[hook] = values
                    self.failures += failures
                return self._collected[hook]

    def _call(self, hook: str, manager: HookManager) -> tuple[tuple[Any, ...], tuple[Failure, ...]]:
        try:
            items, failures = _flattened(hook, manager.call(self.record.key, hook))
            checked: tuple[tuple[Any, ...], tuple[Failure, ...]]
            if hook == INFER_KEYS_HOOK:
                checked = _checked_keys(items)
            else:
                checked = self._checked_specs(next(kind for kind in KINDS if kind.hook == hook), items)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # one plugin's hook must not cost the others their results
            return (), (Failure.of(Stage.HOOK, f"its hook {hook}", error),)
        return checked[0], (*failures, *checked[1])

    def _checked_specs(self, kind: Kind, items: list[object]) -> tuple[tuple[AbstractSpec, ...], tuple[Failure, ...]]:
        good: dict[str, AbstractSpec] = {}
        failures = []
        for item in items:
            problem = self._problem(kind, item, good)
            if problem is not None:
                failures.append(Failure(stage=Stage.DESCRIPTOR, reason=f"{problem}; that one is left out"))
            elif isinstance(item, AbstractSpec):
                good[item.name] = item
        return tuple(good[name] for name in sorted(good)), tuple(failures)

    def _problem(self, kind: Kind, item: object, good: dict[str, AbstractSpec]) -> str | None:
        if not isinstance(item, kind.spec):
            return f"its hook {kind.hook} gave {item!r}, where {kind.spec.__name__} objects belong"
        if item.name in good:
            return f"its hook {kind.hook} gives the name {item.name!r} twice"
        if self.record.official or "/" in item.name:
            return None
        owner = self._official.provider(kind.label, item.name)
        if owner is not None:
            return f"the name {item.name!r} is official and stays with {owner} (a third party's is 'vendor/Name')"
        return f"the {kind.label} {item.name!r} has no vendor: a third party's name is 'vendor/{item.name}'"


@contextmanager
def _once_per_context(key: str, work: str) -> Iterator[bool]:
    """Yield True, or False where the same work is under way further out: a manifest that looks up its own names."""
    under_way = _UNDER_WAY.get()
    token = _UNDER_WAY.set(under_way | {(key, work)})
    try:
        yield (key, work) not in under_way
    finally:
        _UNDER_WAY.reset(token)


def _is_being_imported(module: object) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _api_failure(api: object, record: PluginRecord) -> Failure | None:
    if type(api) is int and api == PLUGIN_API:
        return None
    if api is None:
        return Failure(
            stage=Stage.API, reason=f"{record.target} does not state ALEATOR_PLUGIN_API; this core speaks {PLUGIN_API}"
        )
    if isinstance(api, int):
        remedy = "aleator-core" if api > PLUGIN_API else record.distribution
        advice = f"; run: pip install --upgrade {remedy}"
    else:
        advice = ""
    return Failure(stage=Stage.API, reason=f"built for API {api!r}, this core speaks {PLUGIN_API}{advice}")


def _flattened(hook: str, results: list[object]) -> tuple[list[object], tuple[Failure, ...]]:
    items: list[object] = []
    failures: list[Failure] = []
    for result in results:
        if isinstance(result, Iterable) and not isinstance(result, str):
            items += result
        else:
            reason = f"its hook {hook} returned {result!r}, where a list belongs"
            failures.append(Failure(stage=Stage.HOOK, reason=reason))
    return items, tuple(failures)


def _checked_keys(items: list[object]) -> tuple[tuple[str, ...], tuple[Failure, ...]]:
    good = tuple(sorted({item for item in items if isinstance(item, str) and item}))
    failures = tuple(
        Failure(stage=Stage.DESCRIPTOR, reason=f"its hook {INFER_KEYS_HOOK} gave {item!r}, where names belong")
        for item in items
        if not (isinstance(item, str) and item)
    )
    return good, failures
