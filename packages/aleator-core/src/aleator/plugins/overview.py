"""The table of plugins that ``python -m aleator.plugins`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import metadata

from aleator.errors import PluginLoadError
from aleator.plugins.discovery import GROUP
from aleator.plugins.kinds import KINDS
from aleator.plugins.plugin import PLUGIN_API, Plugin, Status
from aleator.plugins.registry import Registry
from aleator.plugins.switches import normalized
from aleator.plugins.targets import load_target

__all__ = ["overview"]


def overview(registry: Registry, *, verbose: bool = False) -> tuple[str, int]:
    """Describe every plugin found.

    Args:
        registry: a discovery that is not strict, so that one failure does not hide the next.
        verbose: import every target, and show tracebacks.

    Returns:
        The text, and how many things failed.
    """
    broken = list(_target_problems(registry)) if verbose else []
    conflicts = registry.conflicts()
    lines = [*_heading(registry), "", *_table(registry), *_missing(registry)]
    failures = [(plugin, failure) for plugin in registry.plugins for failure in plugin.failures]
    if failures or broken or conflicts:
        lines += ["", "failures"]
    for plugin, failure in failures:
        lines.append(f"  {plugin.record.label}: {failure.reason}")
        if verbose and failure.traceback:
            lines += [f"    {line}" for line in failure.traceback.rstrip().splitlines()]
    lines += [f"  {problem}" for problem in broken]
    for name, records in conflicts.items():
        lines.append(f"  {name!r} is registered by {' and '.join(record.label for record in records)}")
    return "\n".join(lines), len(failures) + len(broken) + len(conflicts)


def _heading(registry: Registry) -> Iterator[str]:
    try:
        version = metadata.version("aleator-core")
    except metadata.PackageNotFoundError:
        version = "(not installed, run from its sources)"
    yield f"aleator-core {version}, plugin API {PLUGIN_API}, entry-point group {GROUP!r}"
    if registry.switches.disable:
        yield registry.switches.disable_text
        for name in registry.switches.disable:
            records = [plugin.record for plugin in registry.plugins]
            if name != "*" and not any(
                name in (record.entry_point, record.key) or normalized(name) == record.distribution
                for record in records
            ):
                yield f"  {name!r} matches no plugin"


def _table(registry: Registry) -> Iterator[str]:
    rows = [("plugin", "version", "entry point", "status", "registers")]
    for plugin in registry.plugins:
        record = plugin.record
        registered = list(_registered(registry, plugin))
        status = "ok, in part" if plugin.status is Status.LOADED and plugin.failures else plugin.status.value
        first = registered[0] if registered else "-"
        rows.append((record.distribution, record.version or "?", record.entry_point, status, first))
        rows += [("", "", "", "", line) for line in registered[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if len(rows) == 1:
        yield "(none)"


def _registered(registry: Registry, plugin: Plugin) -> Iterator[str]:
    for kind in KINDS:
        specs = registry.specs(plugin, kind)
        if specs:
            yield f"{kind.label}s: {', '.join(spec.name for spec in specs)}"
    keys = registry.plugin_infer_keys(plugin)
    if keys:
        yield f"infer keys: {', '.join(keys)}"


def _missing(registry: Registry) -> Iterator[str]:
    present = {plugin.record.distribution for plugin in registry.plugins}
    absent = [name for name in registry.official.distributions if name not in present]
    if absent:
        yield ""
        yield "official, not installed"
    for distribution in absent:
        official = registry.official
        names = _owned(official.infer.items(), distribution) | _owned(official.handlers.items(), distribution)
        yield f"  {distribution}: {', '.join(sorted(names))}"


def _owned(table: Iterable[tuple[str, str]], distribution: str) -> set[str]:
    return {name for name, owner in table if owner == distribution}


def _target_problems(registry: Registry) -> Iterator[str]:
    for plugin in registry.plugins:
        for kind in KINDS:
            for spec in registry.specs(plugin, kind):
                try:
                    load_target(kind, spec, plugin.record)
                except PluginLoadError as error:
                    yield str(error)
