"""Importance sampling as an algorithm."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import torch
from torch import Tensor
from tqdm.auto import tqdm

from aleator.errors import CheckpointError, UnsupportedModelError
from aleator.params.files import MapLocation, read_checkpoint, write_checkpoint
from aleator.randomness import RandomSource, rng
from aleator.trace import Trace
from aleator_importance import weights
from aleator_importance.batching import BatchColumns, attempt, chunk_size_for
from aleator_importance.importance_warning import ImportanceWarning
from aleator_importance.judgement import warn_of_bad_weights
from aleator_importance.pareto_smoothing import SmoothedWeights, smooth_log_weights
from aleator_importance.proposals import Pair, Programs, log_weight_of, outline_pair
from aleator_posterior import Draws, TracePosterior
from aleator_posterior.draw_files import decode_draws, encode_draws

__all__ = ["Importance"]

Program = Callable[..., Any]
_KIND = "aleator.importance-run"
# Below this many samples a loop is the quicker way: a run for many has to be compared with loops.
_FEW = 8


@final
class Importance(TracePosterior):
    """Draw from a guide (by default from the prior), and weigh each draw by ``p(draw, data) / q(draw)``.

    The weighted draws stand for the posterior, the mean weight estimates the evidence. Where the programs allow it, all
    draws are one run, as a tensor dim left of their plates. Whether they do is found out in the run: it must have the
    sites, plates and shapes of a run for one draw, must not read drawn values on the host, and two draws must come out
    the same in runs of their own. Else the programs are looped, ``execution`` says why, and so does an
    ``ImportanceWarning``, once.

    No autograd graph and no trace per draw are kept. Log weights hold handlers' scales, masks and factors. A plate that
    draws random minibatches is refused: the evidence would be biased.

    Args:
        model: the program; ``sample(..., obs=...)`` sites and factors weigh the draws.
        guide: the program that proposes; left out, the model's own latent sites.
        num_samples: how many draws; 10, with a warning, where it is left out.
        vectorize: ``None`` finds it out; ``True`` raises where it cannot be; ``False`` loops.
        chunk_size: how many draws to run at once; by default as many as take about 64 MiB.
        rng: a seed, a ``torch.Generator`` or a ``RandomSource`` of the run's own; by default the context's.
        progress: show a progress bar in a run that loops or takes several chunks.

    Attributes:
        execution: how the last run went.

    Raises:
        ValueError: a negative ``num_samples``, or a ``chunk_size`` below 1.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import Importance
        >>> def model():
        ...     z = aleator.sample("z", dist.Normal(0.0, 1.0))
        ...     aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(1.0))
        >>> def guide():
        ...     aleator.sample("z", dist.Normal(0.5, 0.5**0.5))
        >>> posterior = Importance(model, guide, num_samples=1000, rng=0).run()
        >>> posterior.get_ESS().round(), posterior.get_log_normalizer().round(decimals=4)
        (tensor(1000.), tensor(-1.5155))
        >>> posterior.execution
        'vectorized: 1000 draws in 1 run'
    """

    def __init__(
        self,
        model: Program,
        guide: Program | None = None,
        num_samples: int | None = None,
        *,
        vectorize: bool | None = None,
        chunk_size: int | None = None,
        rng: int | torch.Generator | RandomSource | None = None,
        progress: bool = True,
    ) -> None:
        super().__init__()
        for what, program in (("model", model), ("guide", guide)):
            if not callable(program) and (program is not None or what == "model"):
                raise TypeError(f"Importance expects a callable as {what}, but found {type(program).__name__}")
        if num_samples is None:
            warnings.warn(
                "Importance: num_samples was left out, so that 10 are drawn; state how many",
                ImportanceWarning,
                stacklevel=2,
            )
            num_samples = 10
        for what, number, least in (("num_samples", num_samples, 0), ("chunk_size", chunk_size, 1)):
            if number is not None and (type(number) is not int or number < least):
                raise ValueError(f"Importance: {what} must be an int of at least {least}, but is {number!r}")
        self.model = model
        self.guide = guide
        self.num_samples = num_samples
        self.vectorize = vectorize
        self.chunk_size = chunk_size
        self.progress = progress
        self.execution = "not run yet"
        self._source = rng if rng is None or isinstance(rng, RandomSource) else RandomSource(rng)
        self._has_told = False

    def run(self, *args: Any, **kwargs: Any) -> Importance:  # noqa: ANN401  # the programs' own arguments
        """Draw and weigh anew, and return itself; warns where k-hat says that the guide does not suffice.

        Args:
            args, kwargs: the arguments of model and guide.

        Raises:
            ModelGuideMismatchError: the programs do not fit each other.
            UnsupportedModelError: a plate draws minibatches, or ``vectorize=True`` cannot be had.
            NonFiniteError: a weight is NaN or plus infinity; the sites are named.
        """
        super().run(*args, **kwargs)
        warn_of_bad_weights(self.log_weights)
        return self

    def get_ESS(self) -> Tensor:
        """Return the effective sample size, between 1 and the number of draws; 0, with a warning, without draws."""
        return weights.effective_sample_size(self.log_weights)

    def get_log_normalizer(self, corrected: bool = False) -> Tensor:
        """Return the log of the mean weight, an estimate of the log evidence.

        Args:
            corrected: add an estimate of the bias of the log, which lies low by half its squared standard error.
        """
        return weights.log_normalizer(self.log_weights, corrected)

    def get_log_normalizer_standard_error(self) -> Tensor:
        """Return the standard error of :meth:`get_log_normalizer`, by the delta method."""
        return weights.log_normalizer_standard_error(self.log_weights)

    def get_normalized_weights(self, log_scale: bool = False) -> Tensor:
        """Return weights that sum to one, shape ``(n,)``.

        Args:
            log_scale: return their logs.
        """
        if len(self.log_weights) == 0:
            warnings.warn("there are no draws, and so no weights", ImportanceWarning, stacklevel=2)
            return self.log_weights
        normalized = weights.normalized_log_weights(self.log_weights)
        return normalized if log_scale else normalized.exp()

    def get_smoothed_weights(self) -> SmoothedWeights:
        """Return the Pareto smoothed, normalized log weights and k-hat; see :func:`smooth_log_weights`."""
        return smooth_log_weights(self.log_weights)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the draws, and the run's own source of randomness: a later ``run`` draws what it would have drawn here.

        Raises:
            OSError: the file cannot be written; what was there stays.
        """
        payload = {
            "draws": encode_draws(self.draws),
            "random_state": None if self._source is None else dict(self._source.get_state()),
            "execution": self.execution,
        }
        write_checkpoint(path, payload, _KIND)

    def load(self, path: str | os.PathLike[str], map_location: MapLocation = None) -> None:
        """Bring back what :meth:`save` wrote; no code in the file is run.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it is damaged, foreign, or of another kind; nothing has changed.
        """
        payload = read_checkpoint(path, _KIND, map_location)
        try:
            draws, execution, state = (
                decode_draws(path, payload["draws"]),
                payload["execution"],
                payload["random_state"],
            )
            source = (
                None if state is None else RandomSource.from_state({key: each.cpu() for key, each in state.items()})
            )
        except (KeyError, AttributeError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged: {error}; use an earlier copy") from error
        self._draws, self.execution = draws, str(execution)
        self._source = self._source if source is None else source

    def _traces(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Trace, Tensor] | Draws]:  # noqa: ANN401  # as in run
        if self.num_samples == 0:
            self.execution = "no draws were asked for"
            return
        programs = Programs(self.model, self.guide, args, kwargs)
        with self._quietly():
            first = programs.trace()
        reason = "vectorize=False" if self.vectorize is False else "few draws" if self.num_samples < _FEW else ""
        if not reason or self.vectorize:
            reason = yield from self._chunks(programs, first)
            if not reason:
                return
            self._tell(reason)
        self.execution = f"looped: {reason}"
        with self._bar(self.num_samples > 1) as bar:
            for place in range(self.num_samples):
                with self._quietly():
                    pair = first if place == 0 else programs.trace()
                    log_weight = log_weight_of(pair)
                bar.update()
                yield pair.model_trace, log_weight

    def _chunks(self, programs: Programs, first: Pair) -> Generator[Draws, None, str]:
        """Yield draws of chunks; return an empty text, or why that cannot be, and then nothing has been yielded."""
        size = min(self.chunk_size or chunk_size_for(first), self.num_samples)
        counts = [size] * (self.num_samples // size)
        if self.num_samples % size:
            counts.append(self.num_samples % size)
        outline = outline_pair(first)
        columns = BatchColumns(outline)
        gathered: list[Draws] = []
        with self._bar(len(counts) > 1) as bar:
            for count in counts:
                with self._quietly():
                    batch, reason = attempt(programs, count, outline)
                    if batch is None:
                        return reason
                    gathered.append(columns.draws(batch))
                bar.update(count)
        self.execution = f"vectorized: {self.num_samples} draws in {len(counts)} run{'s' if len(counts) > 1 else ''}"
        yield from gathered
        return ""

    def _quietly(self) -> AbstractContextManager[Any]:
        return _Quietly(nullcontext() if self._source is None else rng(self._source))

    def _bar(self, is_long: bool) -> Any:  # noqa: ANN401  # tqdm's type has a parameter in stubs only
        return tqdm(total=self.num_samples, disable=not (self.progress and is_long), desc="Importance", unit="draw")

    def _tell(self, reason: str) -> None:
        """Say once why the programs are looped; raise where that was not wanted."""
        if self.vectorize:
            raise UnsupportedModelError(f"Importance(vectorize=True): {reason}")
        if not self._has_told:
            self._has_told = True
            warnings.warn(
                f"Importance loops over its {self.num_samples} draws, one run of the programs each, because they do "
                f"not run for many draws at once: {reason}. vectorize=False loops without this message",
                ImportanceWarning,
                stacklevel=6,
            )


@final
class _Quietly:
    """No graph, and the run's own randomness, for the extent of a ``with`` block."""

    __slots__ = ("_no_grad", "_randomness")

    def __init__(self, randomness: AbstractContextManager[Any]) -> None:
        self._randomness = randomness
        self._no_grad = torch.no_grad()

    def __enter__(self) -> None:
        self._randomness.__enter__()
        self._no_grad.__enter__()

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401  # what a with statement hands over
        self._no_grad.__exit__(*error)
        self._randomness.__exit__(*error)
