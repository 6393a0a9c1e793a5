"""Predictions as tensors by site: from values, from a guide, from a posterior, or from the prior."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from aleator.errors import UnsupportedModelError
from aleator.handlers.trace import TraceMessenger
from aleator.messenger import Messenger
from aleator.randomness import RandomSource, rng
from aleator.trace import Trace
from aleator_posterior.batched_runs import Outline, disagreement, log_probs_of, outline_of, rows_of, trace_batched
from aleator_posterior.choice import choose
from aleator_posterior.draws import Draws
from aleator_posterior.draws_builder import DrawsBuilder
from aleator_posterior.given_values import GivenValues
from aleator_posterior.host_reads import HostReads, draws_read_by
from aleator_posterior.replayed_draws import ReplayedDraw
from aleator_posterior.trace_posterior import TracePosterior

__all__ = ["Predictive"]

Program = Callable[..., Any]
Samples = Mapping[str, Tensor] | Draws | TracePosterior


@final
class Predictive:
    """Run a model on posterior samples, and return what it draws: tensors by site, the sample's dim first.

    Args:
        model: the program.
        posterior_samples: values of latent sites, with one leading dim of one length; or a posterior or its ``Draws``,
            from which ``num_samples`` draws are chosen by weight (all of them in order where it is left out and the
            weights are equal). Left out, as the guide is, samples are the prior's.
        guide: a program that draws the latent sites, on the model's arguments; in place of ``posterior_samples``.
        num_samples: how many samples; by default as many as are given.
        return_sites: which sites to return, observed ones, given ones and ``"_RETURN"`` included; empty, the latent and
            deterministic sites that were not given; ``None``, all.
        parallel: run the program once, the samples being a tensor dim left of its plates. It is compared with runs for
            the first and the last sample, and refused where they differ. A minibatch is then common to all samples.
        rng: a seed, a ``torch.Generator`` or a ``RandomSource`` of its own; by default the context's.

    Raises:
        ValueError: samples of different lengths, a guide beside samples, nothing that tells the number of samples.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import Predictive
        >>> def model(x=None):
        ...     z = aleator.sample("z", dist.Normal(0.0, 1.0))
        ...     aleator.deterministic("twice", 2 * z)
        ...     aleator.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> predicted = Predictive(model, {"z": torch.arange(5.0)}, parallel=True)()
        >>> predicted["x"].shape, predicted["twice"]
        (torch.Size([5]), tensor([0., 2., 4., 6., 8.]))
    """

    def __init__(
        self,
        model: Program,
        posterior_samples: Samples | None = None,
        guide: Program | None = None,
        num_samples: int | None = None,
        return_sites: Collection[str] | None = (),
        parallel: bool = False,
        *,
        rng: int | torch.Generator | RandomSource | None = None,
    ) -> None:
        if num_samples is not None and (type(num_samples) is not int or num_samples < 1):
            raise ValueError(f"Predictive: num_samples must be a positive int, but is {num_samples!r}")
        if guide is not None and posterior_samples:
            raise ValueError("Predictive takes posterior_samples or a guide, not both")
        if isinstance(posterior_samples, Mapping):
            num_samples = _common_length(posterior_samples, num_samples)
        elif posterior_samples is not None and not isinstance(posterior_samples, (Draws, TracePosterior)):
            raise TypeError(
                f"Predictive expects posterior_samples to be a mapping of tensors, a TracePosterior or Draws, "
                f"but found {type(posterior_samples).__name__}"
            )
        if num_samples is None and not isinstance(posterior_samples, (Draws, TracePosterior)):
            raise ValueError("Predictive: nothing tells the number of samples; state num_samples")
        if isinstance(return_sites, str):
            return_sites = (return_sites,)
        self.model = model
        self.posterior_samples = posterior_samples
        self.guide = guide
        self.num_samples = num_samples
        self.return_sites = return_sites
        self.parallel = parallel
        self._source = rng if rng is None or isinstance(rng, RandomSource) else RandomSource(rng)

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # noqa: ANN401  # the program's own arguments
        """Run the model on the samples.

        Args:
            args, kwargs: the arguments of model and guide.

        Raises:
            KeyError: a site of ``return_sites`` that the model lacks.
            ValueError: a returned site that differs in shape between samples.
            UnsupportedModelError: ``parallel=True``, and the program does not go by samples; it says where.
        """
        with self._randomness(), torch.no_grad():
            given = self._given(args, kwargs)
            values = (_parallel if self.parallel else _looped)(self.model, given, args, kwargs)
        names = self.return_sites
        if names is None:
            names = list(values.values)
        elif not len(names):
            names = [
                name
                for name in values.values
                if values.values.describe(name).role in ("latent", "deterministic") and name not in given.names
            ]
        return {name: values.values[name] for name in names}

    def _randomness(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._source is None else rng(self._source)

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Given:
        samples = self.posterior_samples
        if self.guide is not None:
            assert self.num_samples is not None
            nothing = _Given(self.num_samples, {}, None)
            run = (_parallel if self.parallel else _looped)(self.guide, nothing, args, kwargs)
            return _Given(self.num_samples, {name: None for name in run.names("latent")}, run)
        if isinstance(samples, (Draws, TracePosterior)):
            draws = samples if isinstance(samples, Draws) else samples.draws
            weights = draws.log_weights
            if self.num_samples is not None or bool((weights != weights[:1]).any()):
                count = len(draws) if self.num_samples is None else self.num_samples
                draws = draws[choose(draws, count, "Predictive")]
            return _Given(len(draws), {name: None for name in draws.names("latent")}, draws)
        assert self.num_samples is not None
        return _Given(self.num_samples, {} if samples is None else samples, None)


@final
@dataclass(frozen=True, slots=True)
class _Given:
    """What the model is run on: values by site, or draws, whose latent sites ``values`` then only names."""

    count: int
    values: Mapping[str, Tensor | None]
    draws: Draws | None

    @property
    def names(self) -> Collection[str]:
        return self.values.keys()

    def handlers(self) -> Iterator[Messenger]:
        """Yield what gives the values of each sample in turn."""
        return (self.handler(place) for place in range(self.count))

    def handler(self, place: int) -> Messenger:
        """Return what gives the values of one sample."""
        if self.draws is not None:
            return ReplayedDraw(self.draws.traces()[place])
        return GivenValues({name: value[place] for name, value in self.values.items() if value is not None})

    def columns(self) -> Mapping[str, Tensor]:
        """Return the values by site, the sample's dim first."""
        if self.draws is not None:
            return {name: self.draws.values[name] for name in self.values}
        return {name: value for name, value in self.values.items() if value is not None}


def _looped(model: Program, given: _Given, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Draws:
    builder = DrawsBuilder(log_likelihoods=False)
    for handler in given.handlers():
        with handler:
            builder.append(TraceMessenger()(model).get_trace(*args, **kwargs))
    return builder.build()


def _parallel(model: Program, given: _Given, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Draws:
    with given.handler(0) as replayed:
        outline = outline_of(TraceMessenger()(model).get_trace(*args, **kwargs))
    if isinstance(replayed, ReplayedDraw) and (replayed.moved or replayed.drawn_anew):
        names = sorted({*replayed.moved, *replayed.drawn_anew})
        raise UnsupportedModelError(
            f"Predictive(parallel=True): the model's plates have other elements than the draws saw, at sites {names}; "
            f"run with parallel=False"
        )
    columns, minibatches = given.columns(), _common_minibatches(given)
    wide = {name: _widen(name, value, outline, given.count) for name, value in columns.items() if name in outline.sites}
    try:
        reads = HostReads()
        trace = trace_batched(
            reads.watch(model), given.count, outline.nesting, args, kwargs, [GivenValues(wide, minibatches)]
        )
        rows = rows_of(trace, outline, given.count)
        log_probs = log_probs_of(trace, outline, given.count)
        read = draws_read_by(model, None, args, kwargs) if reads.found else ()
        if read:
            raise UnsupportedModelError(
                f"the program reads drawn values on the host (if, item, tolist): {sorted(read)}"
            )
        problem = _difference(model, trace, rows, log_probs, given.count, args, kwargs)
    except (RuntimeError, ValueError, IndexError) as error:
        raise UnsupportedModelError(f"Predictive(parallel=True): {error}; run with parallel=False") from error
    if problem is not None:
        raise UnsupportedModelError(f"Predictive(parallel=True): {problem}; run with parallel=False")
    descriptions = {name: site.description for name, site in outline.sites.items() if name in rows}
    values = {name: row.clone() if row.stride(0) else row for name, row in rows.items() if name not in _plates(outline)}
    return Draws(values, torch.zeros(given.count), descriptions=descriptions)


def _difference(
    model: Program,
    trace: Trace,
    rows: Mapping[str, Tensor],
    log_probs: Mapping[str, Tensor],
    count: int,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> str | None:
    """Tell what the first or the last sample has otherwise in a run of its own."""
    minibatches = {name: site.value for name, site in trace.nodes.items() if site.type == "subsample"}
    for place in {0, count - 1}:
        latent = {name: rows[name][place] for name in trace.stochastic_nodes if name in rows}
        with GivenValues(latent, minibatches):
            looped = TraceMessenger()(model).get_trace(*args, **kwargs)
        problem = disagreement(looped, rows, log_probs, place)
        if problem is not None:
            return problem
    return None


def _plates(outline: Outline) -> set[str]:
    return {name for name, site in outline.sites.items() if site.description.role == "subsample"}


def _common_minibatches(given: _Given) -> dict[str, Tensor]:
    if given.draws is None:
        return {}
    found = {}
    for name in given.draws.subsamples:
        indices = given.draws.subsamples[name]
        if bool((indices != indices[:1]).any()):
            raise UnsupportedModelError(
                f"Predictive(parallel=True): the draws saw different minibatches of plate {name!r}; run with "
                f"parallel=False"
            )
        found[name] = indices[0]
    return found


def _widen(name: str, value: Tensor, outline: Outline, count: int) -> Tensor:
    """Put dims of one between the sample's dim and the dims of one sample, so that the former is left of all plates."""
    about, _, shape = outline.sites[name]
    if shape is None or tuple(value.shape[1:]) != shape:
        raise ValueError(f"Predictive: site {name!r} has shape {shape}, but its samples {tuple(value.shape[1:])}")
    event_dim = len(shape) if about.event_dim is None else about.event_dim
    missing = outline.nesting - (len(shape) - event_dim)
    return value.reshape(count, *(1,) * missing, *shape)


def _common_length(samples: Mapping[str, Tensor], stated: int | None) -> int | None:
    lengths = {name: len(value) if value.dim() else None for name, value in samples.items()}
    if None in lengths.values() or len(set(lengths.values())) > 1:
        raise ValueError(f"Predictive: posterior_samples must share a leading dim, but have {lengths}")
    found = next(iter(lengths.values()), None)
    if found is not None and stated is not None and stated != found:
        raise ValueError(f"Predictive: num_samples is {stated}, but there are {found} posterior_samples; leave it out")
    return stated if found is None else found
