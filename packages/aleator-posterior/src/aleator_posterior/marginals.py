"""The marginals of several sites, each on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aleator_posterior.draws import Draws
from aleator_posterior.empirical_marginal import EmpiricalMarginal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aleator_posterior.trace_posterior import TracePosterior

__all__ = ["Marginals"]


class Marginals:
    """The empirical marginals of sites, whose shapes may differ; open to subclasses that add summaries.

    Args:
        trace_posterior: an algorithm that has run, or its ``Draws``.
        sites: names; left out, the program's result, under the name ``_RETURN``.
        validate_args: as in ``EmpiricalMarginal``.

    Attributes:
        empirical: the ``EmpiricalMarginal`` by site.

    Raises:
        KeyError, ValueError: as ``EmpiricalMarginal`` does.

    Example:
        >>> import torch
        >>> from aleator_posterior import Draws, Marginals
        >>> marginals = Marginals(Draws({"a": torch.zeros(5), "b": torch.ones(5, 2)}), ["a", "b"])
        >>> marginals.empirical["b"].mean, marginals.support()["a"].shape
        (tensor([1., 1.]), torch.Size([5]))
    """

    def __init__(
        self,
        trace_posterior: TracePosterior | Draws,
        sites: str | Sequence[str] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        names = ["_RETURN"] if sites is None else [sites] if isinstance(sites, str) else sites
        self.empirical = {
            name: EmpiricalMarginal(trace_posterior, None if name == "_RETURN" else name, validate_args)
            for name in names
        }

    def support(self, flatten: bool = False) -> dict[str, Tensor]:
        """Return the values by site, the draw's dim first; with several chains, the chains' dim before it.

        Args:
            flatten: put the chains one after the other instead.
        """
        return {
            name: marginal.samples.flatten(0, 1) if flatten and marginal.batch_shape else marginal.samples
            for name, marginal in self.empirical.items()
        }
