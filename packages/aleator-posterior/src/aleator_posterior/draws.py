"""What an algorithm's run gives: draws of every site, with their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from aleator.sites import PlateFrame
from aleator_posterior.columns import Columns, DenseColumn
from aleator_posterior.rebuilt_traces import RebuiltTraces
from aleator_posterior.site_description import SiteDescription

__all__ = ["Draws", "as_log_weights"]


@final
class Draws:
    """Weighted draws from a posterior, stored by site: columns first, traces when somebody reads them.

    Everything kept is detached: no autograd graph, no parameter, no distribution. A ``Draws`` is not changed by its
    methods; the tensors that it gives are the stored ones, not copies, so clone what is to be written into.

    Args:
        values: by site, the values with a leading dim for the draw; the program's result may be under ``_RETURN``.
            Data that all draws share may be given as an expanded tensor, and then take the memory of one draw.
        log_weights: shape ``(n,)``, not normalized; equal weights where left out.
        chain_ids: which chain each draw is from, shape ``(n,)``; chain 0 where left out.
        log_likelihoods: by observed site, the log-likelihood of each datum, masked and not scaled: the draw's dim, then
            the site's batch shape.
        subsamples: by plate, the indices of each draw's minibatch, shape ``(n, size)``.
        descriptions: what is known of the sites; one without a description is latent, in no plate, all dims one draw.

    Attributes:
        values, log_likelihoods, subsamples: tables of ``Columns``: mappings that also hold sites which differ in shape
            between draws, or which some draws lack.
        log_weights: shape ``(n,)``.
        chain_ids: shape ``(n,)``, on the CPU.

    Raises:
        ValueError: naming the site, where a leading dim is not the number of draws.

    Example:
        >>> import torch
        >>> from aleator_posterior import Draws
        >>> draws = Draws({"z": torch.arange(6.0).reshape(3, 2)}, torch.tensor([0.0, -1.0, 0.0]))
        >>> len(draws), draws.values["z"][1]
        (3, tensor([2., 3.]))
        >>> draws[1:].log_weights, draws.traces()[2].nodes["z"].value
        (tensor([-1.,  0.]), tensor([4., 5.]))
    """

    __slots__ = ("chain_ids", "log_likelihoods", "log_weights", "subsamples", "values")

    values: Columns
    log_weights: Tensor
    chain_ids: Tensor
    log_likelihoods: Columns
    subsamples: Columns

    def __init__(
        self,
        values: Mapping[str, Tensor],
        log_weights: Tensor | None = None,
        *,
        chain_ids: Tensor | None = None,
        log_likelihoods: Mapping[str, Tensor] | None = None,
        subsamples: Mapping[str, Tensor] | None = None,
        descriptions: Mapping[str, SiteDescription] | None = None,
    ) -> None:
        about = {} if descriptions is None else descriptions
        count = _count_draws(values, log_weights)
        if log_weights is None:
            log_weights = torch.zeros(count)
        if chain_ids is None:
            chain_ids = torch.zeros(count, dtype=torch.long)
        _check_vector("log_weights", log_weights, count)
        _check_vector("chain_ids", chain_ids, count)
        plate_indices = {name: SiteDescription("subsample", event_dim=1) for name in subsamples or {}}
        self.log_weights = as_log_weights(log_weights)
        self.chain_ids = chain_ids.detach().to("cpu", torch.long)
        self.values = _columns("values", values, about, count)
        self.log_likelihoods = _columns("log_likelihoods", log_likelihoods or {}, about, count)
        self.subsamples = _columns("subsamples", subsamples or {}, plate_indices, count)

    @classmethod
    def of_columns(
        cls, values: Columns, log_likelihoods: Columns, subsamples: Columns, log_weights: Tensor, chain_ids: Tensor
    ) -> Draws:
        """Put tables together that are known to have the same draws; everybody else calls the class."""
        draws = cls.__new__(cls)
        draws.values = values
        draws.log_likelihoods = log_likelihoods
        draws.subsamples = subsamples
        draws.log_weights = log_weights
        draws.chain_ids = chain_ids
        return draws

    @classmethod
    def concatenate(cls, parts: Sequence[Draws]) -> Draws:
        """Put draws one after the other; a site that one of them lacks, or has in another shape, becomes ragged."""
        if not parts:
            return cls({})
        weights = [part.log_weights for part in parts]
        device = weights[0].device
        return cls.of_columns(
            Columns.concatenate([part.values for part in parts]),
            Columns.concatenate([part.log_likelihoods for part in parts]),
            Columns.concatenate([part.subsamples for part in parts]),
            torch.cat([weight.to(device) for weight in weights]),
            torch.cat([part.chain_ids for part in parts]),
        )

    def __len__(self) -> int:
        return self.log_weights.shape[0]

    def __getitem__(self, places: slice | Tensor | Sequence[int]) -> Draws:
        """Return some of the draws, views for a slice: ``draws[10:20]``, ``draws[mask]``, ``draws[[3, 3, 1]]``."""
        if isinstance(places, slice):
            return Draws.of_columns(
                self.values.select(places),
                self.log_likelihoods.select(places),
                self.subsamples.select(places),
                self.log_weights[places],
                self.chain_ids[places],
            )
        if isinstance(places, (str, int)) or not isinstance(places, (Tensor, Sequence)):
            raise TypeError(
                f"draws[{places!r}]: draws are picked by a slice, a tensor or a list of places; for a site's values "
                f"write draws.values[name], for one trace draws.traces()[place]"
            )
        index = _as_index(places, len(self))
        numbers = index.tolist()
        return Draws.of_columns(
            self.values.select(numbers, index),
            self.log_likelihoods.select(numbers, index),
            self.subsamples.select(numbers, index),
            self.log_weights[index],
            self.chain_ids[index],
        )

    def in_chain(self, chain_id: int) -> Draws:
        """Return the same draws, all counted to one chain."""
        chain_ids = torch.full_like(self.chain_ids, chain_id)
        return Draws.of_columns(self.values, self.log_likelihoods, self.subsamples, self.log_weights, chain_ids)

    @property
    def num_chains(self) -> int:
        """How many chains the draws are from."""
        return len(torch.unique(self.chain_ids))

    @property
    def plates(self) -> dict[str, PlateFrame]:
        """The plates around any site, by name; of a sequential plate, one turn stands for all."""
        described = (self.values.describe(name) for name in self.values)
        return {frame.name: frame._replace(counter=0) for about in described for frame in about.frames}

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Names for the dims of one value, by site: plates' names, ``<site>_dim_<place>`` for the others.

        The draw's dim is not counted. Of a ragged site, the first draw that has it speaks.
        """
        found = {}
        for name in self.values:
            _, value, about = next(iter(self.values.column(name).entries()))
            found[name] = about.dims(name, value.dim())
        return found

    def names(self, role: str) -> list[str]:
        """Return the names of the sites of a role: ``latent``, ``observed``, ``deterministic`` or ``return``."""
        return [name for name in self.values if self.values.describe(name).role == role]

    def traces(self) -> RebuiltTraces:
        """Return a sequence of one ``Trace`` per draw, each made when it is read and not kept.

        Writing into such a trace leaves the draws alone; writing into its tensors does not, for they are views.
        """
        return RebuiltTraces(self.values, self.subsamples, range(len(self)))

    def __repr__(self) -> str:
        return f"Draws(draws={len(self)}, chains={self.num_chains}, {self.values.shown()})"


def as_log_weights(log_weights: Tensor | float) -> Tensor:
    """Return log weights as a detached tensor of a floating dtype."""
    weights = torch.as_tensor(log_weights).detach()
    return weights if weights.is_floating_point() else weights.to(torch.get_default_dtype())


def _count_draws(values: Mapping[str, Tensor], log_weights: Tensor | None) -> int:
    for tensor in (log_weights, *values.values()):
        if tensor is not None and tensor.dim():
            return tensor.shape[0]
    return 0


def _check_vector(what: str, vector: Tensor, count: int) -> None:
    if vector.shape != (count,):
        raise ValueError(f"Draws: {what} must have shape ({count},), one per draw, but has {tuple(vector.shape)}")


def _columns(
    table: str, tensors: Mapping[str, Tensor], descriptions: Mapping[str, SiteDescription], count: int
) -> Columns:
    columns: dict[str, DenseColumn] = {}
    for name, tensor in tensors.items():
        if tensor.dim() == 0 or tensor.shape[0] != count:
            raise ValueError(
                f"Draws: {table}[{name!r}] has shape {tuple(tensor.shape)}, but its leading dim must be the number of "
                f"draws, {count}"
            )
        about = descriptions.get(name)
        if about is None:
            about = SiteDescription("return") if name == "_RETURN" else SiteDescription(event_dim=tensor.dim() - 1)
        columns[name] = DenseColumn(tensor.detach(), about)
    return Columns(columns, count)


def _as_index(places: Tensor | Sequence[int], count: int) -> Tensor:
    """Return places as a vector of indices on the CPU, counted from the front."""
    index = torch.as_tensor(places, device="cpu")
    if index.dtype is torch.bool:
        if index.shape != (count,):
            raise ValueError(f"draws[mask]: the mask must have shape ({count},), but has {tuple(index.shape)}")
        return index.nonzero().squeeze(1)
    index = index.to(torch.long)
    if index.dim() != 1:
        raise ValueError(f"draws[places]: places must be a vector, but have shape {tuple(index.shape)}")
    index = torch.where(index < 0, index + count, index)
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < count:
        raise IndexError(f"draws[places]: places run from 0 to {count - 1}, but {places!r} were asked for")
    return index
