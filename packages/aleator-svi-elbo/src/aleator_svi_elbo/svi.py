"""Stochastic variational inference: steps, runs, and the posterior that a run gives."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, final

import torch
from tqdm.auto import tqdm

from aleator.errors import AleatorWarning
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.optim import Schedule, Scheduled
from aleator.params.files import MapLocation
from aleator.randomness import RandomSource
from aleator.trace import Trace
from aleator_posterior import TracePosterior
from aleator_svi_elbo.blocks import Block
from aleator_svi_elbo.checkpoint import RunState, read_run, write_run
from aleator_svi_elbo.compiled_training import CompiledTraining
from aleator_svi_elbo.early_stopping import EarlyStopping
from aleator_svi_elbo.evaluation import Evaluation, Program
from aleator_svi_elbo.losses import as_estimator, checked_optimizer
from aleator_svi_elbo.training import Training

__all__ = ["SVI"]


@final
class SVI(TracePosterior):
    """Fit the parameters of a guide (and of a model) by following the gradient of a loss.

    Parameters live in the context's store; what belongs to the run (optimizer state, step count, losses, its source of
    randomness) lives here. One step estimates loss and gradient, looks at them once, and only then writes: a step that
    raises leaves parameters and optimizer as they were.

    Args:
        model, guide: the programs.
        optim: an optimizer of ``aleator.optim``, or a ``torch.optim`` class or factory.
        loss: an estimator, a registered name (``"Trace_ELBO"``), or a callable ``(model, guide, *args, **kwargs)``.
        loss_and_grads: a callable that also adds to ``.grad``, beside a callable ``loss``.
        num_samples: how many posterior samples ``run`` draws from the guide.
        num_steps: how many steps ``run`` takes.
        rng: a seed, a ``torch.Generator`` or a ``RandomSource`` of the run's own; by default the context's.
        progress: show a progress bar in ``run``.
        callback: called as ``callback(step, loss)`` every ``callback_every`` steps of ``run``. Between two calls no
            number is read from an accelerator; where a step turns out to have failed, the steps since then run again.
        callback_every: how many steps lie between two calls.
        early_stopping: an ``EarlyStopping``.
        scheduler: a schedule of ``aleator.optim``; ``run`` moves it on by one epoch per step.
        compile: ``True``, or a backend of ``aleator.infer.compile`` (``"auto"``, ``"aot"``, ``"inductor"``,
            ``"eager"``): whole steps by compiled code; needs aleator-jit-estimators. Values are then not validated; a
            step that gives NaN is taken again as it is, which says why. Where the optimizer has no pure form, loss and
            gradient are compiled.

    Attributes:
        losses: the loss of every step of ``run`` so far.
        steps_taken: the number of steps so far.

    Raises:
        TypeError: an unknown keyword, an optimizer in the place of the loss or a loss in that of the optimizer.
        ValueError: ``compile`` beside ``loss_and_grads``, or an unknown backend.
        MissingPluginError: ``compile`` without aleator-jit-estimators.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import SVI, Trace_ELBO
        >>> from aleator.optim import Adam
        >>> def model():
        ...     aleator.sample("z", dist.Normal(3.0, 1.0))
        >>> def guide():
        ...     aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.0)), 1.0))
        >>> with aleator.ParamStore() as store:
        ...     svi = SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), num_steps=200, rng=0, progress=False)
        ...     posterior = svi.run()
        ...     bool(abs(store["loc"] - 3.0) < 0.1), len(posterior.exec_traces)
        (True, 10)
    """

    def __init__(
        self,
        model: Program,
        guide: Program,
        optim: Any,  # noqa: ANN401  # any of the forms
        loss: Any,  # noqa: ANN401  # any of the forms
        loss_and_grads: Callable[..., Any] | None = None,
        num_samples: int = 10,
        num_steps: int = 0,
        *,
        rng: int | torch.Generator | RandomSource | None = None,
        progress: bool = True,
        callback: Callable[[int, float], object] | None = None,
        callback_every: int = 100,
        early_stopping: EarlyStopping | None = None,
        scheduler: Schedule | None = None,
        compile: bool | str = False,
    ) -> None:
        super().__init__()
        _require_callable(model=model, guide=guide)
        _require_callable_or_none(loss_and_grads=loss_and_grads, callback=callback)
        if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
            raise TypeError(f"SVI expects an EarlyStopping, but found {type(early_stopping).__name__}")
        self.model = model
        self.guide = guide
        optimizer = checked_optimizer(optim)
        self.optim = optimizer if scheduler is None else Scheduled(optimizer, scheduler)
        self._run_moves_schedule = scheduler is not None
        self.loss = as_estimator(loss)
        self.loss_and_grads = loss_and_grads
        self.num_samples = _count("num_samples", num_samples, 0)
        self.num_steps = _count("num_steps", num_steps, 0)
        self.callback = callback
        self.callback_every = _count("callback_every", callback_every, 1)
        self.early_stopping = early_stopping
        self.progress = progress
        source = rng if rng is None or isinstance(rng, RandomSource) else RandomSource(rng)
        self._training = Training(self.optim, source)
        self.losses: list[float] = []
        self._compile(compile)

    @property
    def steps_taken(self) -> int:
        """The number of steps so far, those of ``step`` and of ``run``."""
        return self._training.steps_taken

    def step(self, *args: Any, **kwargs: Any) -> float:  # noqa: ANN401  # the programs' own arguments
        """Take one step on these arguments, and return the loss before it.

        Raises:
            NonFiniteError, ParameterError, SupportError: naming what is wrong; nothing has been updated.
        """
        return self._training.step(self._evaluation(args, kwargs))

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> float:  # noqa: ANN401  # the programs' own arguments
        """Return an estimate of the loss on these arguments; nothing is updated."""
        with self._training.randomness():
            return self.loss.loss(self.model, self.guide, *args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> SVI:  # noqa: ANN401  # the programs' own arguments
        """Take ``num_steps`` steps, then draw ``num_samples`` from the guide; called again, it continues.

        Returns:
            Itself, a posterior.
        """
        evaluation = self._evaluation(args, kwargs)
        block = Block(self._training, evaluation, self.losses, self._run_moves_schedule)
        left = self.num_steps
        with tqdm(total=left, disable=not self.progress, desc="SVI", unit="step") as bar:
            while left:
                taken = block.take(min(left, self._steps_until_report()))
                left -= taken
                bar.update(taken)
                if self.steps_taken % self.callback_every == 0:
                    loss = self.losses[-1]
                    bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
                    if self.callback is not None:
                        self.callback(self.steps_taken, loss)
                if self.early_stopping is not None and self.early_stopping.is_due(self.losses):
                    break
        super().run(*args, **kwargs)
        return self

    def compile_report(self) -> Any:  # noqa: ANN401  # of a distribution that this one does not need
        """Return what compiling came to so far: how many graphs, in which time, and why steps run uncompiled.

        Raises:
            TypeError: nothing here is compiled.
        """
        compiled = self._training.compiled
        report = getattr(self.loss if compiled is None else compiled.compiled, "report", None)
        if report is None:
            raise TypeError("this SVI is not compiled; make it with compile=True, or its loss by aleator.infer.compile")
        return report

    def scheduler_step(self, loss: float | None = None) -> None:
        """Move the optimizer's schedule on by one epoch; does nothing where it has none.

        ``run`` does so after every step for a ``scheduler=`` given to SVI, and never for a schedule inside ``optim``.

        Args:
            loss: the epoch's loss, for schedules that look at it.
        """
        self._training.scheduler_step(None if loss is None else torch.tensor(loss))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run whole: the context's store, the optimizer with its schedule, randomness, steps and losses.

        A run without a source of its own (``rng=``) draws from the context's stream, which is not the run's and is not
        saved. Draws of the posterior are not saved either; ``run`` makes them anew.

        Args:
            path: the file; what is there stays whole if writing fails.

        Raises:
            ParameterError: a parameter's constraint cannot be written to a file.
            OSError: the file cannot be written.
        """
        training = self._training
        write_run(path, self.optim, RunState(training.state, training.source, training.steps_taken, self.losses))

    def load(self, path: str | os.PathLike[str], map_location: MapLocation = None) -> None:
        """Continue from what :meth:`save` wrote, bit for bit; before the first step too. No code in the file is run.

        The parameters and buffers go into the context's store; what the file does not name stays there.

        Args:
            path: the file.
            map_location: where new tensors go, as in ``torch.load``.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it is damaged, foreign, or does not fit the optimizer; store and run are as they were.
        """
        state = read_run(path, self.optim, map_location)
        training = self._training
        training.state, training.steps_taken, self.losses = state.optimizer, state.steps_taken, state.losses
        training.source = training.source if state.source is None else state.source
        # Modules put their own parameters in the place of the store's leaves when they register.
        training.leaves = {}

    def _traces(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Trace, float]]:  # noqa: ANN401  # as in run
        """Yield runs of the model, replayed against draws of the guide, all of weight one."""
        for _ in range(self.num_samples):
            with self._training.randomness(), torch.no_grad():
                with TraceMessenger() as guide_trace:
                    self.guide(*args, **kwargs)
                with ReplayMessenger(trace=guide_trace):
                    model_trace = TraceMessenger()(self.model).get_trace(*args, **kwargs)
            yield model_trace, 0.0

    def _compile(self, wish: bool | str) -> None:
        """Have whole steps compiled; with an optimizer that has no pure form, loss and gradient."""
        if wish is False:
            return
        backend = "auto" if wish is True else wish
        if self.loss_and_grads is not None:
            raise ValueError("SVI: compile= and loss_and_grads= exclude each other; give the loss as an estimator")
        if self.optim.has_pure_form:
            self._training.compiled = CompiledTraining(self._evaluation((), {}), self._training, backend)
            return
        from aleator.infer import compile  # as in CompiledTraining

        self.loss = compile(self.loss, backend=backend)
        warnings.warn(
            f"SVI: {self.optim.name} has no pure form, so loss and gradient are compiled and its own step is not; "
            f"use an optimizer of aleator.optim",
            AleatorWarning,
            stacklevel=3,
        )

    def _evaluation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Evaluation:
        return Evaluation(self.loss, self.loss_and_grads, self.model, self.guide, args, kwargs)

    def _steps_until_report(self) -> int:
        """Return how many steps may be taken before somebody must know a loss."""
        left = self.callback_every - self.steps_taken % self.callback_every
        if self.early_stopping is not None:
            left = min(left, self.early_stopping.steps_until_decision(len(self.losses)))
        return left


def _require_callable(**things: object) -> None:
    for what, thing in things.items():
        if not callable(thing):
            raise TypeError(f"SVI expects a callable as {what}, but found {type(thing).__name__}")


def _require_callable_or_none(**things: object) -> None:
    _require_callable(**{what: thing for what, thing in things.items() if thing is not None})


def _count(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"SVI: {name} must be an int of at least {least}, but is {value!r}")
    return value
