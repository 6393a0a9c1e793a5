"""What the installed plugins register, as the kit's checks look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from aleator.plugins import registry
from aleator.plugins.kinds import ESTIMATOR

__all__ = ["Registration", "registrations"]


@final
@dataclass(frozen=True)
class Registration:
    """One estimator of one distribution.

    Attributes:
        name: as users ask for it.
        distribution, version: what registers it.
        manifest: the module of the entry point.
        target: ``"module:attribute"``.
        summary: the plugin's own words.
        is_official: whether the distribution is one of Aleator's own.
    """

    name: str
    distribution: str
    version: str
    manifest: str
    target: str
    summary: str
    is_official: bool


def registrations() -> tuple[Registration, ...]:
    """Return every estimator that a healthy installed plugin registers."""
    known = registry.current()
    known.load_quietly()
    found = []
    for plugin in known.plugins:
        for spec in known.specs(plugin, ESTIMATOR):
            record = plugin.record
            found.append(
                Registration(
                    spec.name,
                    record.distribution,
                    record.version,
                    record.module,
                    spec.target,
                    spec.summary,
                    record.official,
                )
            )
    return tuple(found)
