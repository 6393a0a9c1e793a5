"""What enumeration does with two programs, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from aleator.infer.gradient_rules import applied_rule
from aleator_enum_discrete.elbo_terms import EnumeratedPair
from aleator_enum_discrete.engine.contraction import plan_contraction
from aleator_enum_discrete.engine.plan import readable_bytes
from aleator_enum_discrete.enum_messenger import CHOSEN
from aleator_enum_discrete.enumerated_dims import ENUMERATED
from aleator_enum_discrete.model_sum import ComponentPart

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["explained_sites", "explained_sums"]

_MOST_STEPS = 12


def explained_sites(model_trace: Trace, guide_trace: Trace) -> Mapping[str, Mapping[str, str]]:
    """Return the columns of each latent site: how it is enumerated, and how a draw of it is differentiated."""
    table = {}
    for trace in (model_trace, guide_trace):
        for name, site in trace.nodes.items():
            if (
                site.type == "sample"
                and not site.is_observed
                and (trace is guide_trace or name not in guide_trace.nodes)
            ):
                words = _enumeration(site)
                is_summed = words != "" and "draws" not in words
                table[name] = {"gradient": "exact" if is_summed else applied_rule(site), "enumerated": words}
    return table


def _enumeration(site: Site) -> str:
    chosen, enumerated = site.stash.get(CHOSEN), site.stash.get(ENUMERATED)
    if chosen is not None:
        return f"{chosen.size} values, one run each"
    if enumerated is None:
        return ""
    return f"{enumerated.size} {'values' if enumerated.is_exact else 'draws'} at dim {enumerated.dim}"


def explained_sums(model_trace: Trace, guide_trace: Trace) -> Sequence[str]:
    """Return a line for each sum inside a logarithm: its order, and what it costs."""
    return [_sum_in_words(part) for part in EnumeratedPair.of(model_trace, guide_trace).parts()]


def _sum_in_words(part: ComponentPart) -> str:
    plan = plan_contraction(part.tables, part.domain, (part.component.output,))
    order = list(_in_words(plan.elimination_order()))
    shown = ", then ".join(islice(order, _MOST_STEPS))
    more = f", then {len(order) - _MOST_STEPS} more" if len(order) > _MOST_STEPS else ""
    size = part.tables[0].values.element_size()
    cost = plan.cost
    names = cost.largest_names
    widest = " x ".join(names[:4]) + (f" x {len(names) - 4} more" if len(names) > 4 else "") if names else "nothing"
    return (
        f"sum over {part.title}: {shown}{more}; {cost.multiplications:,} multiplications and additions; at most "
        f"{readable_bytes(cost.peak * size)} at once, {readable_bytes(cost.saved * size)} kept for the gradient; "
        f"largest table over {widest}"
    )


def _in_words(order: Sequence[Sequence[str]]) -> Iterator[str]:
    for names in order:
        yield f"{names[0]} .. {names[-1]}" if len(names) > 3 else " and ".join(names)
