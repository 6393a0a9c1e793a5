"""The kit for handlers: what every ``Messenger`` has to hold, whatever it does to sites."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch

from aleator import ParamStore, get_param_store, handlers
from aleator.handlers import Messenger
from aleator.runtime import RUN, STACK
from aleator_testing.check import Check, CheckFailure, Level
from aleator_testing.messenger_subject import MessengerSubject, every_kind_of_site, outcome_of
from aleator_testing.report import Report
from aleator_testing.running import run_check

__all__ = ["MESSENGER_CHECKS", "check_messenger"]


def check_messenger(factory: Callable[[], Messenger]) -> Report:
    """Run the checks for handlers.

    Args:
        factory: makes the handler to check, ``lambda: handlers.scale(scale=2.0)``; called several times.

    Raises:
        TypeError: the factory does not give a ``Messenger``.

    Example:
        >>> from aleator import handlers
        >>> from aleator_testing import check_messenger
        >>> check_messenger(lambda: handlers.scale(scale=2.0)).ok
        True
    """
    subject: Any = MessengerSubject(factory)
    return Report(subject.name, "fast", tuple(run_check(subject, each) for each in MESSENGER_CHECKS))


class _Planned(Exception):
    """Raised inside a program."""


def stack_restored(subject: MessengerSubject) -> None:
    """Leaving the handler leaves the stack as it was, also when the program under it raises."""
    for outer in (0, 1):
        for use in (_as_context, _as_decorator):
            for program in (every_kind_of_site, _raising):
                _require_restored(subject, outer, use, program)


def _require_restored(
    subject: MessengerSubject, outer: int, use: Callable[..., object], program: Callable[[], object]
) -> None:
    with ParamStore():
        around = handlers.trace() if outer else None
        if around is not None:
            around.__enter__()
        before = STACK.get()
        try:
            use(subject.make(), program)
        except _Planned:
            pass
        after = STACK.get()
        if around is not None:
            around.__exit__(None, None, None)
    if after != before:
        left = [type(each).__name__ for each in after[len(before) :]]
        raise CheckFailure(f"after {program.__name__} the stack holds {left or 'less'} beside what it held before")
    if RUN.get() is not None:
        raise CheckFailure(f"after {program.__name__} a run is still open")


def _raising() -> None:
    every_kind_of_site()
    raise _Planned


def _as_context(messenger: Messenger, program: Callable[[], object]) -> None:
    with messenger:
        program()


def _as_decorator(messenger: Messenger, program: Callable[[], object]) -> None:
    messenger(program)()


def decorator_equals_context(subject: MessengerSubject) -> None:
    """As a decorator the handler does what it does as a context manager."""
    left = outcome_of(lambda: _as_context(subject.make(), every_kind_of_site))
    right = outcome_of(lambda: _as_decorator(subject.make(), every_kind_of_site))
    _require_same(left, right, "as a context manager", "as a decorator")


def reusable(subject: MessengerSubject) -> None:
    """One object used twice, and within itself, does each time what a new one does."""
    messenger = subject.make()
    for turn in ("first", "second"):
        found = outcome_of(lambda: _as_context(messenger, every_kind_of_site))
        fresh = outcome_of(lambda: _as_context(subject.make(), every_kind_of_site))
        _require_same(found, fresh, f"at its {turn} use", "a new object")
    nested = _outcome_or_error(lambda: _as_context(messenger, messenger(every_kind_of_site)))
    fresh = _outcome_or_error(lambda: _as_context(subject.make(), subject.make()(every_kind_of_site)))
    _require_same(nested, fresh, "one object within itself", "two objects")


def _outcome_or_error(run: Callable[[], object]) -> dict[str, Any]:
    """Some handlers refuse a second one of their kind, by name: then one object within itself is refused too."""
    try:
        return outcome_of(run)
    except Exception as error:  # noqa: BLE001  # what it is says whether two uses differ
        return {"raised": type(error).__name__}


def entering_is_silent(subject: MessengerSubject) -> None:
    """Making, entering and leaving the handler draws no random number and writes no parameter."""
    before = torch.random.get_rng_state()
    with warnings.catch_warnings(action="ignore"), subject.make():
        pass  # that a name is met nowhere may be worth a warning: here no program runs
    if not torch.equal(before, torch.random.get_rng_state()):
        raise CheckFailure(f"{subject.name} draws random numbers where no program runs")
    if len(get_param_store()):
        raise CheckFailure(f"{subject.name} put {sorted(get_param_store())} into the parameter store")


def others_stay(subject: MessengerSubject) -> None:
    """Handlers further out stay on the stack, and those further in see the program's sites."""
    with ParamStore(), handlers.trace() as outside:
        before = STACK.get()
        with subject.make():
            if STACK.get()[: len(before)] != before:
                raise CheckFailure(f"{subject.name} takes handlers that were there before it off the stack")
            with handlers.trace() as inside:
                every_kind_of_site()
    del outside
    if not any(name.endswith("z") for name in inside.nodes):  # it may be renamed, as handlers.scope does
        raise CheckFailure(f"a trace inside {subject.name} does not see the sites of the program")


def threads_apart(subject: MessengerSubject) -> None:
    """Two threads under one object get what each gets alone."""
    messenger = subject.make()
    alone = [outcome_of(lambda: _as_context(subject.make(), every_kind_of_site), seed) for seed in (1, 2)]
    found: dict[int, Any] = {}
    barrier = threading.Barrier(2)

    def work(index: int) -> None:
        def run() -> None:
            with messenger:
                barrier.wait(timeout=60)  # both are inside
                every_kind_of_site()

        try:
            found[index] = outcome_of(run, index + 1)
        except Exception as error:  # noqa: BLE001  # it is reported by the thread that waits
            found[index] = error

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(alone):
        if isinstance(found[index], BaseException):
            raise CheckFailure(f"thread {index + 1} of two raised {found[index]!r}")
        _require_same(found[index], expected, f"in thread {index + 1} of two", "alone")


def _require_same(left: dict[str, Any], right: dict[str, Any], first: str, second: str) -> None:
    differ = sorted(name for name in {*left, *right} if left.get(name) != right.get(name))
    if differ:
        name = differ[0]
        raise CheckFailure(f"{name}: {left.get(name)} {first}, but {right.get(name)} {second}")


def _made(number: int, function: Callable[[Any], None], level: Level = "fast") -> Check:
    summary = " ".join((function.__doc__ or "").split("\n\n")[0].split())
    return Check(function.__name__, number, "M", summary, level, frozenset(), "a few runs", function)


MESSENGER_CHECKS: tuple[Check, ...] = tuple(
    _made(number, function)
    for number, function in enumerate(
        (
            stack_restored,
            decorator_equals_context,
            reusable,
            entering_is_silent,
            others_stay,
            threads_apart,
        ),
        1,
    )
)
