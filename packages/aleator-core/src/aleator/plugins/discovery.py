"""Installed distributions -> plugin records, by metadata alone: no plugin's code runs here.

Metadata is read distribution by distribution, since one damaged file would make ``importlib.metadata.entry_points``
raise for everybody.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution
from typing import Any, NamedTuple

from aleator.plugins.official_names import OfficialNames
from aleator.plugins.records import Failure, PluginRecord, Stage
from aleator.plugins.switches import normalized

__all__ = ["GROUP", "discover"]

GROUP = "aleator"
_VALUE = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)\s*(?::\s*([A-Za-z_]\w*(?:\.\w+)*)\s*)?(?:\[.*\])?", re.ASCII)


class _Entry(NamedTuple):
    """One line of the group: a name and what it stands for, or the line itself where it has no equals sign."""

    name: str
    value: str


def discover(official: OfficialNames, path: Sequence[str] | None = None) -> tuple[PluginRecord, ...]:
    """Find every entry point of the group ``aleator``.

    Args:
        official: the table that tells official distributions from third parties'.
        path: folders to search in the place of ``sys.path``.

    Returns:
        Records, official distributions first, then sorted by distribution and entry point: the order never depends
        on the file system.
    """
    folders = sys.path if path is None else list(path)
    records: dict[str, PluginRecord] = {}
    seen: set[str] = set()
    for distribution in Distribution.discover(path=folders):
        entries = _group_entries(distribution)
        if not entries:
            continue
        name, version, problem = _identity(distribution)
        if name in seen or (problem is None and _is_shadowed(distribution, name, folders)):
            continue
        seen.add(name)
        for entry in entries:
            record = _record(name, version, entry, name in official.distributions, problem)
            records.setdefault(record.key, record)
    return tuple(sorted(records.values(), key=lambda record: (not record.official, record.key)))


def _group_entries(distribution: Distribution) -> list[_Entry]:
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeError):
        # Whose plugin this is cannot be read; a distribution without plugins is no business of ours.
        return []
    return list(_parse_group(text))


def _parse_group(text: str) -> Iterator[_Entry]:
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            inside = line[1:-1].strip() == GROUP
        elif inside and line and not line.startswith(("#", ";")):
            name, equals, value = line.partition("=")
            yield _Entry(name.strip(), value.strip()) if equals else _Entry(line, "")


def _identity(distribution: Distribution) -> tuple[str, str, str | None]:
    """Return normalized name, version and what is wrong with the metadata."""
    folder = str(getattr(distribution, "_path", "a distribution"))
    stem = re.split(r"[\\/]", folder)[-1]
    fallback = normalized(stem.partition("-")[0]) or "unknown"
    try:
        metadata: Any = distribution.metadata
        name, version = metadata.get("Name"), metadata.get("Version")
    except Exception as error:  # noqa: BLE001  # readers of damaged metadata raise whatever they like
        return fallback, "", f"reading {stem}/METADATA raised {type(error).__name__}: {error}"
    if not name:
        return fallback, str(version or ""), f"{stem}/METADATA states no Name"
    if not version:
        return normalized(str(name)), "", f"{stem}/METADATA states no Version"
    return normalized(str(name)), str(version), None


def _is_shadowed(distribution: Distribution, name: str, folders: list[str]) -> bool:
    """Tell whether another version of the same distribution comes earlier on the path; then Python imports that one."""
    first = next(iter(Distribution.discover(name=name, path=folders)), None)
    return first is not None and first.locate_file("") != distribution.locate_file("")


def _record(name: str, version: str, entry: _Entry, official: bool, problem: str | None) -> PluginRecord:
    match = _VALUE.fullmatch(entry.value)
    if problem is None and match is None:
        line = f"{entry.name} = {entry.value}" if entry.value else entry.name
        problem = f"entry_points.txt has {line!r} in group {GROUP!r}, where 'name = package._plugin' belongs"
    failure = None if problem is None else Failure(stage=Stage.METADATA, reason=f"its metadata is malformed: {problem}")
    return PluginRecord(
        distribution=name,
        version=version,
        entry_point=entry.name,
        module=match.group(1) if match else entry.value,
        attribute=(match.group(2) or "") if match else "",
        official=official,
        failure=failure,
    )
