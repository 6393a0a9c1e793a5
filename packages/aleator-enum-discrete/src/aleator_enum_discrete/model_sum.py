"""The logarithm of the sum over a model's enumerated sites, component by component."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from aleator.errors import UnsupportedModelError
from aleator_enum_discrete.engine.contraction import Component, components, contract
from aleator_enum_discrete.engine.tables import Domain, Table
from aleator_enum_discrete.named_factors import NamedFactor

if TYPE_CHECKING:
    from aleator.infer import Factor

__all__ = ["ComponentPart", "component_parts", "depends_on", "model_tables", "total_scale"]


def model_tables(factors: Sequence[NamedFactor], summed: Container[str]) -> list[Table]:
    """Return the factors as tables: masked, but for the law of a site that is summed out, and not scaled.

    A mask says what counts in the objective. A site that is summed out keeps its law under a mask: its weights still
    sum to one, so that a masked element without anything unmasked that depends on it adds nothing.
    """
    return [each.table(_law(each.factor) if each.site.name in summed else each.factor.log_prob) for each in factors]


class ComponentPart(NamedTuple):
    """One component of a model: what is summed together, and over what the logarithm of the sum is.

    Attributes:
        title: the sites that are summed out: the only one, or the first and the last.
        tables: its factors.
        domain: its sites, those that the guide enumerated included.
        component: which of them are summed, and which are kept.
        scale: of all its factors.
        members: its factors, by site.
    """

    title: str
    tables: list[Table]
    domain: Domain
    component: Component
    scale: Tensor | float
    members: tuple[NamedFactor, ...]

    def log_sum(self, memory_budget: int | None) -> Table:
        """Return the logarithm of the sum, over the plates around the component and what the guide enumerated."""
        output = self.component.output
        values = contract(self.tables, self.domain, output, memory_budget=memory_budget)
        return Table(values, output, self.component.plates)


def depends_on(each: NamedFactor, summed: Mapping[str, object]) -> bool:
    """Whether a factor is one of the sites that are summed out, or varies along the dim of one."""
    if each.site.name in summed:
        return True
    shape = each.factor.log_prob.shape
    return any(name in summed and len(shape) >= -dim and shape[dim] != 1 for dim, name in each.dims.items())


def _law(factor: Factor) -> Tensor:
    return factor.log_prob if factor.score is None else factor.score


def component_parts(
    factors: Sequence[NamedFactor], domain: Domain, summed: Mapping[str, object], kept: Sequence[str]
) -> Iterator[ComponentPart]:
    """Part the factors of a model into components.

    Args:
        factors: those that depend on sites that are summed out.
        domain: all enumerated sites, and all plates.
        summed: the model's enumerated sites.
        kept: the guide's.

    Raises:
        UnsupportedModelError: scales that differ within a component, or a site of the guide inside a plate that the
            component is outside of; the sites and plates are named.
    """
    tables = model_tables(factors, summed)
    inner = domain.only([*summed, *(name for name in kept if any(name in table.names for table in tables))])
    names = [variable.name for variable in inner.variables if variable.name not in summed]
    for component in components(tables, inner, names):
        members = tuple(factors[place] for place in component.tables)
        _check_guide_sites(component, inner, members)
        scale = _common_scale(component, members)
        within = inner.only([*component.variables, *component.kept])
        chosen = [tables[place] for place in component.tables]
        yield ComponentPart(_title(component), chosen, within, component, scale, members)


def _title(component: Component) -> str:
    first, last = component.variables[0], component.variables[-1]
    return first if first == last else f"{first} .. {last}"


def total_scale(factor: Factor) -> Tensor | float:
    """Return the product of the handlers' and the plates' scales of a site."""
    plates = factor.plate_scale
    return factor.scale if plates == 1.0 else factor.scale * plates


def _common_scale(component: Component, members: Sequence[NamedFactor]) -> Tensor | float:
    """Return the one scale of a sum's factors: it multiplies the sum's logarithm."""
    first = total_scale(members[0].factor)
    if isinstance(first, Tensor) and first.dim():
        raise UnsupportedModelError(
            f"site {members[0].site.name!r} has a scale of shape {tuple(first.shape)}, and is in the sum over "
            f"{_listed(component.variables)}: a scale multiplies the logarithm of the whole sum; scale by a number"
        )
    for member in members[1:]:
        scale = total_scale(member.factor)
        if scale is first or (not isinstance(scale, Tensor) and not isinstance(first, Tensor) and scale == first):
            continue
        raise UnsupportedModelError(
            f"sites {members[0].site.name!r} (scale {_shown(first)}, {_plates(members[0])}) and {member.site.name!r} "
            f"(scale {_shown(scale)}, {_plates(member)}) meet in the sum over {_listed(component.variables)}, whose "
            f"factors must have one scale: what is inside a sum cannot be scaled apart; do not subsample the plate, or "
            f"sample {_listed(component.variables)} in the guide"
        )
    return first


def _shown(scale: Tensor | float) -> str:
    return f"a tensor of shape {tuple(scale.shape)}" if isinstance(scale, Tensor) else f"{scale:g}"


def _plates(member: NamedFactor) -> str:
    parts = [f"plate {frame.name!r} with {frame.size} of {frame.full_size}" for frame in member.site.frames]
    return ", ".join(parts) or "in no plate"


def _check_guide_sites(component: Component, domain: Domain, members: Sequence[NamedFactor]) -> None:
    around = {variable.name: variable.plates for variable in domain.variables}
    for name in component.kept:
        inside = around[name] - component.plates
        if inside:
            raise UnsupportedModelError(
                f"the guide enumerates {name!r} inside {_listed(sorted(inside))}, and the model sums out "
                f"{_listed(component.variables)} outside of it, which depend on each other through "
                f"{_listed([member.site.name for member in members])}: the guide's sites must be at least as global; "
                f"enumerate {name!r} in the model too, or the others in the guide"
            )


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
