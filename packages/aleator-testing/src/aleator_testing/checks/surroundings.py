"""Group C, around the call: the handlers' stack, memory and threads."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import ParamStore
from aleator.runtime import RUN, STACK
from aleator_testing.check import Check, CheckFailure, check
from aleator_testing.checks.objects import flat_programs, plated_programs

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator_testing.subject import Subject

__all__ = ["CHECKS"]


class _Planned(Exception):  # what a program raises on purpose
    """Raised inside a program."""


@check(17, group="C")
def stack_clean(subject: Subject) -> None:
    """The stack of handlers is as before after an estimate, also after one that raised in guide, model or log_prob."""
    model, guide = plated_programs()
    estimator = subject.make()
    estimator.estimate(model, guide)
    _require_clean("an estimate")
    for place, broken in _broken_programs():
        try:
            estimator.estimate(*broken)
        except _Planned:
            pass
        else:
            raise CheckFailure(f"an exception raised in the {place} did not come through")
        _require_clean(f"an exception in the {place}")
        with ParamStore():
            estimator.estimate(model, guide)


def _require_clean(what: str) -> None:
    left = STACK.get()
    if left:
        raise CheckFailure(f"after {what} these handlers are on the stack: {[type(each).__name__ for each in left]}")
    if RUN.get() is not None:
        raise CheckFailure(f"after {what} a run is still open")


def _broken_programs() -> Iterator[tuple[str, tuple[Callable[..., Any], Callable[..., Any]]]]:
    model, guide = flat_programs()

    def raising(program: Callable[..., Any]) -> Callable[..., Any]:
        def run() -> None:
            with aleator.plate("outer", 2):
                program()
                raise _Planned

        return run

    @final
    class Unscored(torch.distributions.Normal):  # the plain one: ours is final
        def log_prob(self, value: Tensor) -> Tensor:
            raise _Planned

    def unscored() -> None:
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("x", Unscored(z, 1.0), obs=torch.tensor(0.5))

    yield "guide", (model, raising(guide))
    yield "model", (raising(model), guide)
    yield "log_prob of an observed site", (unscored, guide)


@check(18, group="C")
def no_leak(subject: Subject) -> None:
    """What was drawn is free as soon as the estimate is dropped: no global holds it, and no cycle of references."""
    model, _ = flat_programs()
    drawn: list[weakref.ref[Tensor]] = []

    def guide() -> None:
        z = aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.3)), 1.0))
        drawn.append(weakref.ref(z))

    estimator = subject.make()
    estimator.loss_and_grads(model, guide)  # what is found out once may be kept
    drawn.clear()
    with _uncollected():
        for _ in range(3):
            estimate = estimator.estimate(model, guide)
            del estimate
            estimator.loss_and_grads(model, guide)
        alive = _alive(drawn)
    gc.collect()
    if left := _alive(drawn):
        raise CheckFailure(f"{left} of {len(drawn)} draws are still held after their estimates were dropped")
    if alive:
        raise CheckFailure(
            f"{alive} of {len(drawn)} draws outlive their estimates until the garbage collector runs: something refers "
            f"to itself in a cycle, and a device's memory would fill meanwhile"
        )


def _alive(drawn: list[weakref.ref[Tensor]]) -> int:
    return sum(reference() is not None for reference in drawn)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles from running."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@check(19, group="C")
def thread_isolation(subject: Subject) -> None:
    """Two threads on two models through one object get what each gets alone."""
    estimator = subject.make()
    pairs = [flat_programs(), plated_programs()]
    alone = [_losses(estimator, *pair) for pair in pairs]
    found: list[list[float] | BaseException] = [[], []]
    barrier = threading.Barrier(2)

    def work(index: int) -> None:
        try:
            barrier.wait(timeout=60)
            found[index] = _losses(estimator, *pairs[index])
        except BaseException as error:  # noqa: BLE001  # it is reported by the thread that waits
            found[index] = error

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    with _short_turns():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index, (expected, got) in enumerate(zip(alone, found, strict=True)):
        if isinstance(got, BaseException):
            raise CheckFailure(f"thread {index + 1} of two raised {type(got).__name__}: {got}") from got
        if got != expected:
            raise CheckFailure(f"thread {index + 1} of two got {got[:3]}..., alone it gets {expected[:3]}...")


def _losses(estimator: AbstractEstimator, model: Callable[..., Any], guide: Callable[..., Any]) -> list[float]:
    with ParamStore(), aleator.rng(11):
        return [estimator.estimate(model, guide).loss.item() for _ in range(20)]


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take turns often, so that they do meet."""
    import sys

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


CHECKS: tuple[Check, ...] = (stack_clean, no_leak, thread_isolation)
