"""How each row of the table trains a program: ``Steps`` takes a number of steps and waits for the last one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import Any, NamedTuple

from bench.compiled.languages import speak
from bench.compiled.programs import PROGRAMS, Training

__all__ = ["ROWS", "Prepared", "library_of", "prepare"]


SETTLING = 3.0


class Prepared(NamedTuple):
    """A program that has taken its first step.

    Attributes:
        take: takes so many steps.
        unit: takes whole multiples of this many.
        losses: the losses of the first 50 steps; they say whether the libraries train the same program.
        settle: steps until nothing is being compiled any more.
    """

    take: Callable[[int], None]
    unit: int
    losses: Callable[[], list[float]]
    settle: Callable[[], None] = lambda: None


def library_of(row: str) -> str:
    """The library that a row needs: ``aleator``, ``pyro`` or ``numpyro``."""
    return row.partition("_")[0]


def prepare(row: str, program: str) -> Prepared:
    """State a program and take its first step as the row says."""
    training = PROGRAMS[program].of(speak(library_of(row)))
    prepared = ROWS[row](training)
    prepared.take(prepared.unit)
    return prepared


def _aleator(training: Training, whole_runs: bool) -> Prepared:
    from aleator import infer
    from aleator.infer import compile, functional
    from aleator.optim import Adam
    from aleator_jit_estimators import compile_report

    if training.particles > 1:
        loss: Any = infer.IWAE(num_particles=training.particles, max_plate_nesting=1, vectorize_particles=True)
    else:
        loss = infer.TraceEnum_ELBO(max_plate_nesting=1) if training.sums_out else infer.Trace_ELBO()
    first = training.batches[0]
    svi = compile(functional.SVI(training.model, training.guide, loss, Adam(lr=training.lr)), backend="aot")
    start, _ = svi.init(0, first, first)
    prepared = _functional(svi.update, svi.run if whole_runs else None, lambda _: None, start, training)

    def settle() -> None:
        end = time.perf_counter() + SETTLING
        while whole_runs and (time.perf_counter() < end or compile_report(svi).waiting):
            prepared.take(prepared.unit)
            if compile_report(svi).waiting:
                time.sleep(1.0)  # what is waited for is built by a child process that yields to others

    return prepared._replace(settle=settle)


def _functional(update: Any, run: Any, wait: Any, start: Any, training: Training) -> Prepared:  # noqa: ANN401  # of two libraries
    """What Aleator's and NumPyro's steps have in common: a state goes in, the next one comes out."""
    state, length = start, training.run_length
    batches = cycle(training.batches)

    def take(number: int) -> None:
        nonlocal state
        for batch in islice(batches, number):
            state, _ = update(state, batch, batch)
        wait(state)

    def take_runs(number: int) -> None:
        nonlocal state
        for _ in range(number // length):
            state, _ = run(state, length, training.batches[0], training.batches[0])
        wait(state)

    def losses() -> list[float]:
        current, found = start, []
        for batch in islice(cycle(training.batches), 50):
            current, loss = update(current, batch, batch)
            found.append(float(loss))
        return found

    return Prepared(take, 1, losses) if run is None else Prepared(take_runs, length, losses)


def _numpyro(training: Training, whole_runs: bool) -> Prepared:
    import jax
    from numpyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceEnum_ELBO
    from numpyro.optim import Adam

    if training.particles > 1:
        loss: Any = RenyiELBO(alpha=0, num_particles=training.particles)
    else:
        loss = TraceEnum_ELBO(max_plate_nesting=1) if training.sums_out else Trace_ELBO()
    svi = SVI(training.model, training.guide, Adam(training.lr), loss)
    start = svi.init(jax.random.PRNGKey(0), *training.batches[0])
    compiled = jax.jit(svi.update)

    def scan(state: Any, args: Any) -> Any:  # noqa: ANN401  # pytrees
        return jax.lax.scan(lambda each, _: svi.update(each, *args), state, None, length=training.run_length)

    compiled_scan = jax.jit(scan)

    def update(state: Any, args: Any, _: Any) -> Any:  # noqa: ANN401  # pytrees
        return compiled(state, *args)

    def run(state: Any, _: int, args: Any, __: Any) -> Any:  # noqa: ANN401  # pytrees
        return compiled_scan(state, args)

    return _functional(update, run if whole_runs else None, jax.block_until_ready, start, training)


def _pyro(training: Training, is_compiled: bool) -> Prepared:
    import pyro
    from pyro.infer import SVI, JitTrace_ELBO, JitTraceEnum_ELBO, RenyiELBO, Trace_ELBO, TraceEnum_ELBO
    from pyro.optim import Adam

    pyro.clear_param_store()
    pyro.enable_validation(False)
    if training.particles > 1:
        loss: Any = RenyiELBO(alpha=0, num_particles=training.particles, max_plate_nesting=1, vectorize_particles=True)
    elif training.sums_out:
        nesting = {"max_plate_nesting": 1}
        loss = JitTraceEnum_ELBO(ignore_jit_warnings=True, **nesting) if is_compiled else TraceEnum_ELBO(**nesting)
    else:
        loss = JitTrace_ELBO(ignore_jit_warnings=True) if is_compiled else Trace_ELBO()
    svi = SVI(training.model, training.guide, Adam({"lr": training.lr}), loss)
    batches = cycle(training.batches)
    first: list[float] = []

    def take(number: int) -> None:
        for batch in islice(batches, number):
            loss = svi.step(*batch)
            if len(first) < 50:
                first.append(float(loss))

    def losses() -> list[float]:
        take(50 - len(first))
        return first

    return Prepared(take, 1, losses)


ROWS: Mapping[str, Callable[[Training], Prepared]] = {
    "aleator_compiled": lambda training: _aleator(training, whole_runs=False),
    "aleator_compiled_run": lambda training: _aleator(training, whole_runs=True),
    "numpyro": lambda training: _numpyro(training, whole_runs=False),
    "numpyro_scan": lambda training: _numpyro(training, whole_runs=True),
    "pyro": lambda training: _pyro(training, is_compiled=False),
    "pyro_jit": lambda training: _pyro(training, is_compiled=True),
}
