"""Which estimators the kit is held against, and which of their failures are known, each with its reason."""

from __future__ import annotations

from aleator.infer import is_available
from aleator.plugins import registry
from aleator_testing.registered import registrations
from aleator_testing.subject import Subject

# By estimator, the reason by check. An entry whose check passes fails the test, so nothing is forgotten here.
# A compiled estimator runs such programs as they are, and says so; the kit takes no warning.
COMPILED_FAILURES = {
    "arguments_reach_both": "its programs write to a list, which a compiled step would not do",
    "no_leak": "its programs write to a list, which a compiled step would not do",
    "overhead": "its programs are validated by torch, which reads values on the host",
}
EXPECTED_FAILURES: dict[str, dict[str, str]] = {
    f"Jit{name}_ELBO": COMPILED_FAILURES for name in ("Trace", "TraceEnum", "TraceGraph", "TraceMeanField")
}


def registered_estimators() -> list[str]:
    """Every estimator that an installed plugin registers: found, not listed, so that none is left out.

    A front door (``ELBO``) makes objects of a class that is registered itself; they are checked under that name.
    """
    targets = {found.target: found.name for found in registrations()}
    names = []
    for found in registrations():
        cls = Subject(found.name).estimator_class
        if targets.get(f"{cls.__module__}:{cls.__qualname__}", found.name) == found.name:
            names.append(found.name)
    return sorted(names)


def available_official_bounds() -> set[str]:
    """The concrete bounds among the official names of ``aleator.infer``, as far as they are installed."""
    named = {
        name for name in registry.current().official.infer if name.endswith("_ELBO") or name in ("RenyiELBO", "IWAE")
    }
    return {name for name in named if is_available(name)}
