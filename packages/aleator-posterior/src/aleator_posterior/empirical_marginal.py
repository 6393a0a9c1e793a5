"""The marginal of a site, as the distribution of its weighted draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from aleator.distributions import Empirical
from aleator_posterior.draws import Draws

if TYPE_CHECKING:
    from aleator_posterior.trace_posterior import TracePosterior

__all__ = ["EmpiricalMarginal"]


@final
class EmpiricalMarginal(Empirical):  # type: ignore[misc]  # Empirical is final; people expect this to be one
    """The distribution of a site's weighted draws.

    The batch shape is ``()``, or ``(chains,)`` where the draws are from several chains. The values are the stored ones,
    not copies.

    Args:
        trace_posterior: an algorithm that has run, or its ``Draws``.
        sites: the name of a site; several names, of sites with one shape, which are then stacked in a new leading event
            dim; left out, the program's result.
        validate_args: whether to check weights and shapes; by default as the context says.

    Raises:
        KeyError: for a site that no draw has.
        ValueError: naming the site, where it differs in shape between draws, or from the other sites; where chains
            differ in length; where there are no draws.

    Example:
        >>> import torch
        >>> from aleator_posterior import Draws, EmpiricalMarginal
        >>> draws = Draws({"z": torch.tensor([1.0, 2.0])}, log_weights=torch.tensor([0.25, 0.75]).log())
        >>> EmpiricalMarginal(draws, "z").mean
        tensor(1.7500)
    """

    def __init__(
        self,
        trace_posterior: TracePosterior | Draws,
        sites: str | Sequence[str] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        draws = trace_posterior if isinstance(trace_posterior, Draws) else getattr(trace_posterior, "draws", None)
        if not isinstance(draws, Draws):
            raise TypeError(
                f"EmpiricalMarginal expects a TracePosterior or Draws, but found {type(trace_posterior).__name__}"
            )
        if len(draws) == 0:
            raise ValueError("EmpiricalMarginal: there are no draws; run the algorithm with more than zero samples")
        samples, log_weights = _by_chain(draws, _samples(draws, sites))
        super().__init__(samples, log_weights.to(samples.device), validate_args)


def _samples(draws: Draws, sites: str | Sequence[str] | None) -> Tensor:
    if sites is None:
        if "_RETURN" not in draws.values:
            raise ValueError(
                "EmpiricalMarginal: no result is kept with the draws; return a tensor from the program, or name a site "
                f"({', '.join(draws.values)})"
            )
        return draws.values["_RETURN"]
    if isinstance(sites, str):
        return draws.values[sites]
    columns = [draws.values[name] for name in sites]
    if not columns:
        raise ValueError("EmpiricalMarginal: the list of sites is empty; leave it out for the program's result")
    if len({column.shape for column in columns}) > 1:
        shapes = {name: tuple(column.shape[1:]) for name, column in zip(sites, columns, strict=True)}
        raise ValueError(
            f"EmpiricalMarginal: sites of one marginal must share a shape, but have {shapes}; take Marginals instead"
        )
    return torch.stack(columns, dim=1)


def _by_chain(draws: Draws, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples and log weights with the chains in a leading dim where there are several."""
    chains, lengths = torch.unique(draws.chain_ids, return_counts=True)
    if len(chains) == 1:
        return samples, draws.log_weights
    if int(lengths.min()) != int(lengths.max()):
        shown = ", ".join(f"{int(length)} in chain {int(chain)}" for chain, length in zip(chains, lengths, strict=True))
        raise ValueError(
            f"EmpiricalMarginal: chains must have one length, but there are {shown}; "
            f"count all draws to one chain with draws.in_chain(0)"
        )
    order = torch.argsort(draws.chain_ids, stable=True)
    shape = (len(chains), int(lengths[0]))
    return samples[order].reshape(*shape, *samples.shape[1:]), draws.log_weights[order].reshape(shape)
