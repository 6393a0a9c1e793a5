"""The checks of group A, for everything that a distribution registers."""

from __future__ import annotations

import time
from collections.abc import Callable

from aleator.plugins import registry
from aleator_testing.catalogue import all_checks
from aleator_testing.check import Check, CheckFailure
from aleator_testing.checks.registration import names_resolve, spec_registered
from aleator_testing.registered import registrations, require_loaded, require_resolved
from aleator_testing.report import Outcome, Report
from aleator_testing.running import run_check
from aleator_testing.subject import Subject

__all__ = ["check_plugin"]


def check_plugin(distribution: str) -> Report:
    """Check an installed distribution: does it load, do its names resolve, is its import without side effects?

    Args:
        distribution: as it is installed, ``"acme-vr"``.

    Raises:
        LookupError: no such distribution has an entry point in the group ``aleator``.

    Example:
        >>> from aleator_testing import check_plugin
        >>> try:
        ...     check_plugin("no-such-plugin")
        ... except LookupError as error:
        ...     print(str(error).partition(";")[0])
        no installed distribution 'no-such-plugin' has an entry point in the group 'aleator'
    """
    known = registry.current()
    known.load_quietly()
    installed = sorted({plugin.record.distribution for plugin in known.plugins})
    if distribution not in installed:
        raise LookupError(
            f"no installed distribution {distribution!r} has an entry point in the group 'aleator'; installed are "
            f"{', '.join(installed) or 'none'}"
        )
    outcomes = [
        _outcome(spec_registered, require_loaded, distribution),
        _outcome(names_resolve, require_resolved, distribution),
    ]
    if all(outcome.ok for outcome in outcomes):
        own = [each for each in all_checks() if each.group == "A" and each not in (spec_registered, names_resolve)]
        for found in registrations():
            if found.distribution == distribution:
                outcomes += [run_check(Subject(found.name), each) for each in own]
    return Report(distribution, "fast", tuple(outcomes))


def _outcome(statement: Check, require: Callable[[str], None], distribution: str) -> Outcome:
    started = time.perf_counter()
    try:
        require(distribution)
    except CheckFailure as failure:
        return Outcome(statement, "failed", f"{failure}\n(see {statement.docs})", time.perf_counter() - started)
    return Outcome(statement, "passed", "", time.perf_counter() - started)
