"""Group A: the estimator as a plugin registers it, and what its import does to a process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from aleator.infer import AbstractEstimator, Capabilities
from aleator_testing.check import Check, CheckFailure, NotApplicable, check
from aleator_testing.registered import Registration, registrations, require_loaded, require_resolved
from aleator_testing.side_effects import IMPORT_PROBE, MANIFEST_PROBE

if TYPE_CHECKING:
    from aleator_testing.subject import Subject

__all__ = ["CHECKS"]


def registration_of(subject: Subject) -> Registration:
    """Return how the subject is registered.

    Raises:
        NotApplicable: no installed plugin registers this class.
    """
    cls = subject.estimator_class
    target = f"{cls.__module__}:{cls.__qualname__}"
    for found in registrations():
        if subject.registered_name in (found.name, f"{found.distribution}:{found.name}") or found.target == target:
            return found
    raise NotApplicable(f"no installed plugin registers {target}; the checks of group A look at registered names")


@check(1, group="A", cost="no estimate")
def spec_registered(subject: Subject) -> None:
    """The manifest imports, speaks this core's plugin API, and its hooks return well-formed specs."""
    require_loaded(registration_of(subject).distribution)


@check(3, group="A", cost="no estimate")
def names_resolve(subject: Subject) -> None:
    """Every estimator, handler and algorithm that the distribution registers can be imported."""
    require_resolved(registration_of(subject).distribution)


@check(2, group="A", cost="a fresh process")
def manifest_is_light(subject: Subject) -> None:
    """Importing the manifest loads nothing but itself: listing plugins must stay cheap and safe."""
    found = registration_of(subject)
    loaded = _probe(MANIFEST_PROBE, found.manifest)["loaded"]
    package = found.manifest.partition(".")[0]
    heavy = [name for name in loaded if name != found.manifest and name != package]
    if heavy:
        raise CheckFailure(
            f"importing the manifest {found.manifest} also loads {', '.join(heavy[:6])}; import them where they are "
            f"used, and give the target as text"
        )


@check(3, group="A", cost="no estimate")
def target_resolves(subject: Subject) -> None:
    """The registered target is a final subclass of ``AbstractEstimator`` that can be made without arguments."""
    cls = subject.estimator_class
    if not issubclass(cls, AbstractEstimator):
        raise CheckFailure(f"{cls.__qualname__} is no AbstractEstimator")
    if not getattr(cls, "__final__", False):
        raise CheckFailure(
            f"{cls.__qualname__} is not final; decorate it with typing.final: wrap it, do not subclass it"
        )


@check(4, group="A", cost="a fresh process")
def no_import_side_effects(subject: Subject) -> None:
    """Importing the estimator's module changes nothing outside: torch, random numbers, logging, warnings, handlers."""
    changed = _probe(IMPORT_PROBE, subject.estimator_class.__module__)["changed"]
    if changed:
        raise CheckFailure(f"importing {subject.estimator_class.__module__} changed {', '.join(changed)}")


@check(5, group="A", cost="no estimate")
def capabilities_declared(subject: Subject) -> None:
    """The class declares its capabilities, every field with a value of its type."""
    cls = subject.estimator_class
    declared: Any = getattr(cls, "capabilities", None)
    if not isinstance(declared, Capabilities):
        raise CheckFailure(f"{cls.__qualname__}.capabilities is {type(declared).__name__}, expected Capabilities")
    names = {each.name for each in fields(Capabilities)}
    missing = sorted(name for name in names if not hasattr(declared, name))
    if missing:
        raise CheckFailure(f"{cls.__qualname__}.capabilities lacks {missing}")
    if declared.non_reparam and not declared.gradient_rules - {"pathwise", "stl", "dreg"}:
        raise CheckFailure("'non_reparam' is declared, but no gradient rule for draws without a path")


@cache
def _probe(program: str, module: str) -> dict[str, list[str]]:
    """Run a program in a fresh process that sees what this one can import, and return what it prints."""
    command = [sys.executable, "-c", program, json.dumps(sys.path), module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise CheckFailure(f"importing {module} in a fresh process failed: {done.stderr.strip()[-600:]}")
    answer: dict[str, list[str]] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


CHECKS: tuple[Check, ...] = (
    spec_registered,
    names_resolve,
    manifest_is_light,
    target_resolves,
    no_import_side_effects,
    capabilities_declared,
)
