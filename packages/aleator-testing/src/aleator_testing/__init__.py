"""The conformance kit: tells a working estimator from one that is subtly wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aleator.plugins import lazy_exports

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

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
