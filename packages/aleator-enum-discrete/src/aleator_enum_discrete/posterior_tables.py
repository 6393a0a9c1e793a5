"""The tables of a model's enumerated sites, and the values that sites take at one assignment of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.distributions import Categorical
from aleator.distributions.joint_shapes import broadcast_shapes
from aleator.messenger import Messenger
from aleator_enum_discrete.engine.assignments import Assignment, draw_jointly, maximize
from aleator_enum_discrete.engine.tables import Domain, Table
from aleator_enum_discrete.enumerated_dims import DIM_NAMES, ENUMERATED, Enumerated
from aleator_enum_discrete.memory_limit import memory_budget
from aleator_enum_discrete.model_sum import depends_on, model_tables
from aleator_enum_discrete.named_factors import domain_of, enumerated_sites, named_factors

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["GivenValues", "PosteriorTables", "assign", "chosen_values", "posterior_tables"]


class PosteriorTables(NamedTuple):
    """What the joint posterior of enumerated sites is made of.

    Attributes:
        tables: the factors that depend on them: masked, not scaled.
        domain: the sites, and the plates of the run.
        sites: the sites, and how their values lie.
        memory_budget: of the device.
    """

    tables: list[Table]
    domain: Domain
    sites: Mapping[str, tuple[Site, Enumerated]]
    memory_budget: int | None


def posterior_tables(trace: Trace, proposed: Collection[str] = (), keeps_masked_laws: bool = True) -> PosteriorTables:
    """Return the tables of a run of a model under enumeration.

    Args:
        trace: the run.
        proposed: latent sites that were drawn in it by their own law, which so cancels in the posterior.
        keeps_masked_laws: whether a masked element of an enumerated site keeps its law, as in the objective; else it
            counts nothing, so that what lies behind a mask has no say in a maximum.
    """
    factors = named_factors(trace)
    sites = enumerated_sites(trace)
    inside = [each for name, each in factors.items() if name not in proposed and depends_on(each, sites)]
    frames = {frame for each in factors.values() for frame in each.site.frames}
    domain = domain_of(sites, frames)
    tables = model_tables(inside, sites if keeps_masked_laws else ())
    return PosteriorTables(tables, domain, sites, memory_budget(inside))


def assign(posterior: PosteriorTables, temperature: int) -> Assignment:
    """Return a joint draw (temperature 1) or the joint maximum (0) of the sites."""
    choose = maximize if temperature == 0 else draw_jointly
    with torch.no_grad():
        return choose(posterior.tables, posterior.domain, memory_budget=posterior.memory_budget)


def chosen_values(trace: Trace, posterior: PosteriorTables, assignment: Assignment) -> dict[str, Any]:
    """Return the values of the latent sites of a run at an assignment: enumerated ones, and those drawn given them."""
    indices = {name: _along_plates(assignment.values[name], site) for name, (site, _) in posterior.sites.items()}
    latent = ((name, site) for name, site in trace.nodes.items() if site.type == "sample" and not site.is_observed)
    return {name: indices[name] if _lists_categories(site) else _at(site, indices) for name, site in latent}


def _lists_categories(site: Site) -> bool:
    """Whether a site's values are just all its categories in their order, each its own index."""
    enumerated = site.stash.get(ENUMERATED)
    if enumerated is None or not enumerated.is_exact or type(site.fn) is not Categorical:
        return False
    numel: int = site.value.numel()
    return numel == enumerated.size


def _along_plates(table: Table, site: Site) -> Tensor:
    """Lay the indices of a site along the dims of its plates."""
    dims = {frame.name: frame.dim for frame in site.frames if frame.dim is not None}
    width = max((-dim for dim in dims.values()), default=0)
    shape = [1] * width
    for place, name in enumerate(table.names):
        shape[dims[name]] = table.values.shape[place]
    if len(table.names) < 2:
        return table.values if width == len(table.names) else table.values.reshape(shape)
    order = sorted(table.names, key=lambda name: dims[name])
    return table.values.permute([table.names.index(name) for name in order]).reshape(shape)


def _at(site: Site, indices: Mapping[str, Tensor]) -> Any:  # noqa: ANN401  # a site's value
    """Pick a site's value out of the dims of the enumerated sites."""
    value = site.value
    names = site.stash.get(DIM_NAMES)
    if not isinstance(value, Tensor) or not names:
        return value
    event_dim = len(site.fn.event_shape)
    for dim, name in names.items():
        place = value.dim() - event_dim + dim
        if name in indices and place >= 0 and value.shape[place] > 1:
            value = _pick(value, place, event_dim, indices[name])
    batch = value.dim() - event_dim
    widest = max((-frame.dim for frame in site.frames if frame.dim is not None), default=0)
    while batch > widest and value.shape[0] == 1:
        value, batch = value.squeeze(0), batch - 1
    return value


def _pick(value: Tensor, place: int, event_dim: int, index: Tensor) -> Tensor:
    batch = value.dim() - event_dim
    index = index.reshape((1,) * (batch - index.dim()) + tuple(index.shape) + (1,) * event_dim)
    if value.numel() == value.shape[place] and index.dim() == value.dim():
        # Nothing else varies: the usual case, a site's own list of values.
        return value.reshape(-1)[index]
    shape = list(broadcast_shapes(value.select(place, 0).unsqueeze(place).shape, index.shape))
    values = value.expand([value.shape[place] if each == place else size for each, size in enumerate(shape)])
    return values.gather(place, index.expand(shape))


@final
class GivenValues(Messenger):
    """Runs a program on given values; sites so settled ask for no enumeration any more.

    Args:
        values: by site.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def process_sample(self, site: Site) -> None:
        """Set the value where the program gives none."""
        if site.name in self._values and not site.is_observed:
            if "enumerate" in site.infer:
                site.infer = {key: option for key, option in site.infer.items() if key != "enumerate"}
            if site.value is None:
                site.value = self._values[site.name]
                site.done = True
