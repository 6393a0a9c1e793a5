"""What the installed plugins register, as the kit's checks look at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from aleator.plugins import registry
from aleator.plugins.kinds import ESTIMATOR, KINDS
from aleator_testing.check import CheckFailure

__all__ = ["Registration", "registrations", "require_loaded", "require_resolved"]


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


def require_loaded(distribution: str) -> None:
    """Require that a distribution's manifest and hooks work.

    Raises:
        CheckFailure: with what was recorded when they were loaded.
    """
    for plugin in registry.current().plugins:
        if plugin.record.distribution == distribution and plugin.failures:
            raise CheckFailure(f"{plugin.record.label}: {'; '.join(failure.reason for failure in plugin.failures)}")


def require_resolved(distribution: str) -> None:
    """Require that every name that a distribution registers can be imported.

    Raises:
        CheckFailure: naming those that cannot.
    """
    known = registry.current()
    known.load_quietly()
    problems = []
    for plugin in known.plugins:
        if plugin.record.distribution == distribution:
            for kind in KINDS:
                for spec in known.specs(plugin, kind):
                    try:
                        known.resolve([kind], spec.name)
                    except Exception as error:  # noqa: BLE001  # a target's import may raise anything: that is the finding
                        problems.append(f"{spec.name}: {type(error).__name__}: {error}")
    if problems:
        raise CheckFailure("; ".join(problems))
