"""The record of one run: its sites in order, and the questions one asks of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from aleator.formatting import format_shape_table
from aleator.scoring import plate_scale, score_site
from aleator.stash import StashKey

if TYPE_CHECKING:
    from aleator.sites import Site

__all__ = ["REREAD", "Trace"]

REREAD: StashKey[bool] = StashKey("reread")
"""Marks a sample site that only hands out again what an earlier site of its name drew: a record keeps the first."""


def _is_reread(site: Site) -> bool:
    return site._stash is not None and REREAD in site._stash


@final
class Trace:
    """The sites of one run, in the order in which they ran.

    Attributes:
        nodes: site by name; ``_INPUT`` and ``_RETURN`` hold the function's arguments and result.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))
        >>> trace = handlers.trace(model).get_trace()
        >>> trace.observation_nodes, round(float(trace.log_prob_sum()), 4)
        (['x'], -0.9189)
    """

    __slots__ = ("__weakref__", "nodes")

    def __init__(self, nodes: dict[str, Site] | None = None) -> None:
        self.nodes: dict[str, Site] = {} if nodes is None else nodes

    def add(self, site: Site) -> None:
        """Append a site.

        Raises:
            ValueError: where a sample site has the name of another sample site or of a parameter.
        """
        other = self.nodes.get(site.name)
        if other is not None:
            if (other.type == "param" and site.type == "param") or _is_reread(site):
                return
            if site.type != other.type:
                raise ValueError(
                    f"site {site.name!r} is a {other.type} site and, later in the same run, a {site.type} site; "
                    f"rename one of them"
                )
            raise ValueError(
                f"two {site.type} sites named {site.name!r} in one run; give each its own name "
                f"(in a loop, put the counter into the name)"
            )
        self.nodes[site.name] = site

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __contains__(self, name: object) -> bool:
        return name in self.nodes

    def __len__(self) -> int:
        return len(self.nodes)

    def _names(self, **fields: Any) -> list[str]:  # noqa: ANN401  # the fields to match
        return [n for n, site in self.nodes.items() if all(getattr(site, f) == v for f, v in fields.items())]

    @property
    def stochastic_nodes(self) -> list[str]:
        """Names of the latent sample sites."""
        return self._names(type="sample", is_observed=False)

    @property
    def observation_nodes(self) -> list[str]:
        """Names of the observed sample sites."""
        return self._names(type="sample", is_observed=True)

    @property
    def param_nodes(self) -> list[str]:
        """Names of the parameters."""
        return self._names(type="param")

    @property
    def nonreparam_stochastic_nodes(self) -> list[str]:
        """Names of the latent sites without a pathwise gradient."""
        return [name for name in self.stochastic_nodes if not getattr(self.nodes[name].fn, "has_rsample", False)]

    def log_prob_sum(self, site_filter: Any = None) -> Tensor:  # noqa: ANN401  # a predicate of (name, site), or None
        """Return the log-probability of the whole run: masked, scaled by handlers and by plates, summed.

        Args:
            site_filter: a predicate of name and site that picks the sites to count.
        """
        total: Tensor | None = None
        for name, site in self.nodes.items():
            if site.type != "sample" or (site_filter is not None and not site_filter(name, site)):
                continue
            log_prob = (score_site(site)[1] * (site.scale * plate_scale(site))).sum()
            total = log_prob if total is None else total + log_prob
        return torch.zeros(()) if total is None else total

    def format_shapes(self, title: str = "Trace Shapes:", last_site: str | None = None) -> str:
        """Return a table of shapes: per site the distribution's and the value's, batch dims left, event dims right.

        Args:
            title: the table's first line.
            last_site: stop after this site.
        """
        return format_shape_table(self, title, last_site)

    def copy(self) -> Trace:
        """Return a trace whose sites are records of their own; tensors are shared."""
        return Trace({name: site.copy() for name, site in self.nodes.items()})

    def detach_(self) -> Trace:
        """Cut the values of the sites from the autograd graph, in place."""
        for site in self.nodes.values():
            if site.type == "sample" and isinstance(site.value, Tensor):
                site.value = site.value.detach()
        return self

    def __repr__(self) -> str:
        return f"Trace({', '.join(self.nodes)})"
