"""The terms of one run of an enumerated pair: what the sums of the model and the weights of the guide come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, final

import torch
from torch import Tensor

from aleator_enum_discrete.dependence import PARENTS
from aleator_enum_discrete.engine.tables import Domain
from aleator_enum_discrete.enum_messenger import CHOSEN
from aleator_enum_discrete.enumerated_dims import ENUMERATED
from aleator_enum_discrete.expectation import Cost, Weight, ancestors, expect
from aleator_enum_discrete.memory_limit import memory_budget
from aleator_enum_discrete.model_sum import ComponentPart, component_parts, depends_on, total_scale
from aleator_enum_discrete.named_factors import NamedFactor, domain_of, enumerated_sites, named_factors
from aleator_svi_elbo import ParticleTerms
from aleator_svi_elbo.tracing import PARTICLES

if TYPE_CHECKING:
    from aleator.trace import Trace

__all__ = ["EnumeratedPair", "enumerated_terms"]


class EnumeratedPair(NamedTuple):
    """The factors of a pair, and what is enumerated in it.

    Attributes:
        model, guide: the factors, by site.
        domain: all enumerated sites, and all plates.
        of_model, of_guide: the enumerated sites by side.
    """

    model: Mapping[str, NamedFactor]
    guide: Mapping[str, NamedFactor]
    domain: Domain
    of_model: tuple[str, ...]
    of_guide: tuple[str, ...]

    @staticmethod
    def of(model_trace: Trace, guide_trace: Trace) -> EnumeratedPair:
        """Score the sites of a pair, and name the dims of their factors."""
        model, guide = named_factors(model_trace), named_factors(guide_trace)
        sites = {**enumerated_sites(model_trace), **enumerated_sites(guide_trace)}
        frames = {frame for side in (model, guide) for each in side.values() for frame in each.site.frames}
        of_model = tuple(name for name in sites if name not in guide)
        of_guide = tuple(name for name in sites if name in guide)
        return EnumeratedPair(model, guide, domain_of(sites, frames), of_model, of_guide)

    def parts(self) -> Iterator[ComponentPart]:
        """Yield the components of the model's sum."""
        summed = dict.fromkeys(self.of_model)
        inside = [each for each in self.model.values() if depends_on(each, summed)]
        if inside:
            yield from component_parts(inside, self.domain, summed, self.of_guide)


def enumerated_terms(model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
    """Return log p - log q summed over what is enumerated: one tensor, whose value and gradients are the bound's."""
    pair = EnumeratedPair.of(model_trace, guide_trace)
    guide = pair.guide
    budget = memory_budget([*pair.model.values(), *guide.values()])
    upstream = _upstream(guide)
    costs = [*_model_costs(pair, upstream, budget), *(_guide_cost(each, upstream) for each in guide.values())]
    weights = [weight for each in guide.values() if (weight := _weight(each)) is not None]
    kept = PARTICLES if any(name == PARTICLES for name, _ in pair.domain.plates) else None
    always = _weighed_always(guide, upstream)
    terms = expect(costs, weights, pair.domain.only(pair.of_guide), always, kept, budget)
    total = _total(list(terms.values()))
    return ParticleTerms(total, total, total.new_zeros(total.shape), Terms(terms), plates=frozenset())


@final
class Terms(Mapping[str, Tensor]):
    """Each term of the objective under ``elbo/<site>``, summed and detached when somebody looks.

    A term of the model and one of the guide at the same site are one; a sum over sites is under the first and the last.
    """

    def __init__(self, terms: Mapping[tuple[str, str], Tensor]) -> None:
        self._terms = terms

    def __getitem__(self, key: str) -> Tensor:
        name = key.removeprefix("elbo/")
        found = [term.detach().sum() for (_, site), term in self._terms.items() if site == name]
        if not found:
            raise KeyError(key)
        return torch.stack(found).sum()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(f"elbo/{site}" for _, site in self._terms))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _total(terms: list[Tensor]) -> Tensor:
    if not terms:
        return torch.zeros(())
    return terms[0] if len(terms) == 1 else torch.stack(torch.broadcast_tensors(*terms)).sum(0)  # type: ignore[no-untyped-call]  # torch's


Upstream = Mapping[str, frozenset[str]] | None


def _weighed_always(guide: Mapping[str, NamedFactor], upstream: Upstream) -> frozenset[str]:
    """Return the sites that weigh terms which do not depend on them: whose values come one run at a time.

    Such a weight varies with the enumerated sites that it was given, so that theirs go with it.
    """
    chosen = [name for name, each in guide.items() if CHOSEN in each.site.stash]
    before = frozenset().union(*((upstream or {}).get(name, frozenset()) for name in chosen))
    enumerated = (name for name in before if ENUMERATED in guide[name].site.stash)
    return frozenset((*chosen, *enumerated))


def _upstream(guide: Mapping[str, NamedFactor]) -> Upstream:
    """Return for each site of the guide those that its draw comes from, and itself, where that was looked for."""
    parents = {name: each.site.stash.get(PARENTS) for name, each in guide.items()}
    known = {name: each for name, each in parents.items() if each is not None}
    return ancestors(known) if len(known) == len(parents) and known else None


def _parents(members: Iterable[NamedFactor], upstream: Upstream) -> frozenset[str] | None:
    """Return the sites of the guide that factors depend on, through others too."""
    if upstream is None:
        return None
    direct: frozenset[str] = frozenset()
    for member in members:
        found = member.site.stash.get(PARENTS)
        if found is None:
            return None
        direct = direct.union(found)
    return frozenset().union(*(upstream[name] for name in direct if name in upstream))


def _model_costs(pair: EnumeratedPair, upstream: Upstream, budget: int | None) -> Iterator[Cost]:
    inside: set[str] = set()
    for part in pair.parts():
        inside.update(member.site.name for member in part.members)
        yield Cost("model", part.title, part.log_sum(budget), part.scale, _parents(part.members, upstream))
    for name, each in pair.model.items():
        if name not in inside:
            yield _cost("model", each, each.factor.log_prob, upstream)


def _guide_cost(each: NamedFactor, upstream: Upstream) -> Cost:
    factor = each.factor
    log_prob = factor.entropy if factor.score is None and isinstance(factor.entropy, Tensor) else factor.log_prob
    return _cost("guide", each, -log_prob, upstream)


def _cost(side: str, each: NamedFactor, values: Tensor, upstream: Upstream) -> Cost:
    scale = total_scale(each.factor)
    if isinstance(scale, Tensor) and scale.dim():
        values, scale = values * scale, 1.0
    return Cost(side, each.factor.name, each.table(values), scale, _parents((each,), upstream))


def _weight(each: NamedFactor) -> Weight | None:
    """Return the weight of a site of the guide; a pathwise draw has none, nor has a value that is there once."""
    site, factor = each.site, each.factor
    chosen, enumerated = site.stash.get(CHOSEN), site.stash.get(ENUMERATED)
    if chosen is None and enumerated is None and factor.score is None:
        return None
    law = factor.log_prob if factor.score is None else factor.score
    if chosen is not None:
        return Weight(factor.name, each.table(law), absent=-math.log(chosen.size))
    if enumerated is None:
        return Weight(factor.name, each.table(law - law.detach()), is_drawn=True)
    if enumerated.is_exact:
        return Weight(factor.name, each.table(law), sums_to_one=True)
    if factor.score is None:  # pathwise draws: each counts once in so many
        even = law.new_zeros(()).sub(math.log(enumerated.size)).expand(law.shape)
        return Weight(factor.name, each.table(even))
    return Weight(factor.name, each.table(law - law.detach() - math.log(enumerated.size)))
