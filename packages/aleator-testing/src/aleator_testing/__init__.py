"""The conformance kit: tells a working estimator from one that is subtly wrong."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aleator_testing.check import CheckFailure
    from aleator_testing.messenger_checks import check_messenger
    from aleator_testing.parametrize import parametrize_with_checks
    from aleator_testing.plugin_checks import check_plugin
    from aleator_testing.report import Report
    from aleator_testing.running import check_estimator

__all__ = ["CheckFailure", "Report", "check_estimator", "check_messenger", "check_plugin", "parametrize_with_checks"]

_HOMES = {
    "CheckFailure": "check",
    "Report": "report",
    "check_estimator": "running",
    "check_messenger": "messenger_checks",
    "check_plugin": "plugin_checks",
    "parametrize_with_checks": "parametrize",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
