"""What every algorithm that gives draws from a posterior is derived from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Self

from torch import Tensor

from aleator.distributions import Categorical
from aleator.trace import Trace
from aleator_posterior.draws import Draws
from aleator_posterior.draws_builder import DrawsBuilder
from aleator_posterior.information import Criterion, information_criterion
from aleator_posterior.marginals import Marginals
from aleator_posterior.rebuilt_traces import RebuiltTraces

__all__ = ["TracePosterior"]


class TracePosterior(ABC):
    """An algorithm whose run gives weighted draws of a program's sites, and those draws.

    A subclass writes ``_traces`` and calls this constructor. What it yields is copied or taken over at once, so it can
    yield one trace at a time and let each go. One that continues an earlier run overrides ``_retain`` (to keep the
    former draws) or ``run`` (to do something first, such as training).

    Args:
        num_chains: how often a run asks ``_traces`` for draws, one chain after the other.

    Raises:
        ValueError: where ``num_chains`` is not a positive int.

    Example:
        >>> import torch
        >>> from aleator_posterior import Draws, TracePosterior
        >>> class Given(TracePosterior):
        ...     def _traces(self, values):
        ...         yield Draws({"z": values}, log_weights=-values)
        >>> posterior = Given().run(torch.tensor([0.0, 1.0, 2.0]))
        >>> len(posterior.exec_traces), posterior.log_weights
        (3, tensor([-0., -1., -2.]))
    """

    def __init__(self, num_chains: int = 1) -> None:
        if type(num_chains) is not int or num_chains < 1:
            raise ValueError(f"{type(self).__name__}: num_chains must be a positive int, but is {num_chains!r}")
        self.num_chains = num_chains
        self._draws: Draws | None = None

    @abstractmethod
    def _traces(self, *args: Any, **kwargs: Any) -> Iterable[tuple[Trace, Tensor | float] | Draws]:  # noqa: ANN401  # the programs' own arguments
        """Yield the draws of one chain: pairs of a trace and its log weight, or whole batches as ``Draws``.

        Both may be mixed. The chain's number is put in by the caller.
        """

    def run(self, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401  # the programs' own arguments
        """Draw anew, in place of the draws of an earlier run, and return itself; one that raises leaves those.

        Args:
            args, kwargs: the programs' own arguments.

        Raises:
            TypeError: where the subclass yields something else than draws.
        """
        builder = DrawsBuilder()
        for chain in range(self.num_chains):
            self._gather(builder, chain, args, kwargs)
        self._draws = self._retain(self._draws, builder.build())
        return self

    def _gather(self, builder: DrawsBuilder, chain: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        drawn = self._traces(*args, **kwargs)
        try:
            for item in drawn:
                self._add(builder, chain, item)
        finally:
            # A generator that is left half-way still has its handlers and its no_grad around us.
            close = getattr(drawn, "close", None)
            if close is not None:
                close()

    def _add(self, builder: DrawsBuilder, chain: int, item: Any) -> None:  # noqa: ANN401  # a subclass may be wrong
        if isinstance(item, Draws):
            builder.extend(item.in_chain(chain))
        elif isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Trace):
            builder.append(item[0], item[1], chain)
        else:
            raise TypeError(
                f"{type(self).__name__}._traces must yield pairs of a Trace and its log weight, or Draws, "
                f"but yielded {type(item).__name__}"
            )

    def _retain(self, former: Draws | None, new: Draws) -> Draws:
        """Return the draws to keep after a run: the new ones alone, unless a subclass decides otherwise."""
        return new

    @property
    def draws(self) -> Draws:
        """The draws of the last run, by site.

        Raises:
            RuntimeError: before the first run.
        """
        if self._draws is None:
            raise RuntimeError(f"{type(self).__name__} has no draws yet; call its run(...) first")
        return self._draws

    @property
    def exec_traces(self) -> RebuiltTraces:
        """One trace per draw, made when it is read; see ``Draws.traces``."""
        return self.draws.traces()

    @property
    def log_weights(self) -> Tensor:
        """The log weights, not normalized, shape ``(n,)``."""
        return self.draws.log_weights

    @property
    def chain_ids(self) -> Tensor:
        """Which chain each draw is from, shape ``(n,)``."""
        return self.draws.chain_ids

    def marginal(self, sites: str | list[str] | None = None) -> Marginals:
        """Return the marginals of sites, each on its own; without names, the marginal of the program's result."""
        return Marginals(self, sites)

    def information_criterion(self, pointwise: bool = False) -> Criterion:
        """Return the widely applicable information criterion of the last run's draws.

        Args:
            pointwise: return values by datum; see :func:`aleator_posterior.information.information_criterion`.

        Returns:
            ``waic`` (on the deviance scale: smaller is better) and ``p_waic`` (the effective number of parameters).

        Raises:
            ValueError: no observed site, fewer than two draws, or draws that saw different minibatches.
        """
        return information_criterion(self.draws, pointwise)

    def __call__(self, *args: Any, **kwargs: Any) -> Trace:  # noqa: ANN401  # the programs' own arguments
        """Draw one of the traces by weight, without its observed and deterministic sites.

        Arguments are accepted and not used, so that a posterior can stand where a program is called.

        Raises:
            ValueError: where there are no draws, or no weight is positive.
        """
        if len(self.draws) == 0:
            raise ValueError(f"{type(self).__name__} has no draws to choose from; its last run gave none")
        trace = self.exec_traces[int(Categorical(logits=self.log_weights, validate_args=True).sample())]
        for name in trace.observation_nodes:
            del trace.nodes[name]
        return trace
