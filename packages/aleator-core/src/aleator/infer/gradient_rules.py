"""The gradient rule of a site: what it needs of the run, whether it can hold, and which one a site follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from aleator.distributions import Unit
from aleator.errors import UnsupportedModelError
from aleator.infer.factor import DETACHED_DRAW
from aleator.messenger import Messenger

if TYPE_CHECKING:
    from aleator.infer.estimator import AbstractEstimator
    from aleator.plugins.capabilities import Capabilities
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["GRADIENT_RULES", "GradientRule", "RuledDraws", "applied_rule", "check_wishes", "refusals", "rules_of"]


@final
@dataclass(frozen=True, slots=True)
class GradientRule:
    """What a gradient rule needs of the run of the guide.

    An estimator with a rule of its own lists it in ``own_gradient_rules``, a tuple on its class, and names it in its
    ``capabilities``.

    Args:
        name: as it stands in ``infer={"gradient": ...}``.
        is_pathwise: the gradient follows the draw, which must be reparameterized; else the draw is cut from its graph,
            and its factor has a score.
        needs_path_density: the site's factor has log q as a function of the draws alone (``Factor.entropy``).
    """

    name: str
    is_pathwise: bool
    needs_path_density: bool = False


GRADIENT_RULES: Mapping[str, GradientRule] = {
    rule.name: rule
    for rule in (
        GradientRule("pathwise", is_pathwise=True),
        GradientRule("score", is_pathwise=False),
        GradientRule("stl", is_pathwise=True, needs_path_density=True),
        GradientRule("dreg", is_pathwise=True, needs_path_density=True),
        GradientRule("vimco", is_pathwise=False),
    )
}


def rules_of(estimator: AbstractEstimator) -> Mapping[str, GradientRule]:
    """Return the rules that an estimator may offer, by name: those with a name of the field, and its own."""
    own = estimator.own_gradient_rules
    return {**GRADIENT_RULES, **{rule.name: rule for rule in own}} if own else GRADIENT_RULES


def applied_rule(site: Site) -> str:
    """Return the rule that a guide's site follows: the one it asks for, else the default of its distribution."""
    rule = site.infer.get("gradient")
    if rule is not None:
        return str(rule)
    return "pathwise" if getattr(site.fn, "has_rsample", False) else "score"


@final
class RuledDraws(Messenger):
    """Prepares the draws of a guide for their gradient rules; stands outside the guide, and inside its trace.

    Attributes:
        path_sites: the sites whose rule needs the path density.
    """

    def __init__(self, rules: Mapping[str, GradientRule]) -> None:
        self._rules = rules
        self.path_sites: list[str] = []

    def postprocess_sample(self, site: Site) -> None:
        """Cut the draw from its graph, or note that its path density is wanted."""
        if not site.infer or site.is_observed:
            return
        wish = site.infer.get("gradient")
        rule = self._rules.get(wish) if isinstance(wish, str) else None
        if rule is None:
            return
        if not rule.is_pathwise:
            site.value = site.value.detach()
            site.stash[DETACHED_DRAW] = True
        elif rule.needs_path_density:
            self.path_sites.append(site.name)


def check_wishes(estimator: AbstractEstimator, model_trace: Trace, guide_trace: Trace) -> None:
    """Refuse what a site asks for and the estimator, or the site's distribution, cannot do.

    Raises:
        UnsupportedModelError: naming the site, the wish and the capability.
    """
    for _, reason in refusals(estimator, model_trace, guide_trace):
        raise UnsupportedModelError(reason)


def refusals(estimator: AbstractEstimator, model_trace: Trace, guide_trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield each site whose wishes cannot be met, with what is wrong and what to do."""
    capabilities = estimator.capabilities
    for trace in (guide_trace, model_trace):
        is_guide = trace is guide_trace
        for name, site in trace.nodes.items():
            if site.type != "sample":
                continue
            infer = site.infer
            if infer:
                yield from _refused_enumeration(estimator, site)
                if infer.get("gradient") is not None:
                    place = guide_trace.nodes.get(name)
                    yield from _refused_rule(estimator, site, site if is_guide else place, is_guide)
            if is_guide and not capabilities.non_reparam and not getattr(site.fn, "has_rsample", False):
                # Data in a guide is a term added by ``factor``, which says so itself.
                if not site.is_observed or isinstance(site.fn, Unit):
                    yield (
                        name,
                        f"guide site {name!r} has no reparameterized draw ({_family(site.fn)}), and "
                        f"{type(estimator).__name__} needs one (capability 'non_reparam'); use Trace_ELBO",
                    )


def _refused_enumeration(estimator: AbstractEstimator, site: Site) -> Iterator[tuple[str, str]]:
    if site.infer.get("enumerate") and not site.is_observed and not estimator.capabilities.enumeration:
        yield (
            site.name,
            f"site {site.name!r} asks for enumeration, but {type(estimator).__name__} does not enumerate "
            f"(capability 'enumeration'); use TraceEnum_ELBO, or take the mark away",
        )


def _refused_rule(
    estimator: AbstractEstimator, site: Site, guide_site: Site | None, is_guide: bool
) -> Iterator[tuple[str, str]]:
    """Judge the rule that a site asks for; a model's site has its guide's by the replay, which is judged there."""
    name, rule = site.name, site.infer["gradient"]
    if site.is_observed:
        yield (
            name,
            f"observed site {name!r} asks for the gradient rule {rule!r}, but data has no gradient to estimate; take "
            f"the rule away",
        )
    elif not is_guide:
        if guide_site is None or guide_site.infer.get("gradient") is None:
            yield (
                name,
                f"model site {name!r} asks for the gradient rule {rule!r}, but a rule says how the guide's draw is "
                f"differentiated; state it on the guide's site {name!r}",
            )
    else:
        offered = _offered(estimator.capabilities)
        found = rules_of(estimator).get(rule) if isinstance(rule, str) else None
        if found is None or rule not in estimator.capabilities.gradient_rules:
            yield (
                name,
                f"guide site {name!r} asks for the gradient rule {rule!r}, but {type(estimator).__name__} has "
                f"{offered} (capability 'gradient_rules')",
            )
        elif found.is_pathwise and not getattr(site.fn, "has_rsample", False):
            yield (
                name,
                f"guide site {name!r} asks for the gradient rule {rule!r}, but {_family(site.fn)} has no "
                f"reparameterized draw; {type(estimator).__name__} has {offered}: use a rule that needs none, or "
                f"leave it out",
            )


def _offered(capabilities: Capabilities) -> list[str]:
    return sorted(capabilities.gradient_rules)


def _family(fn: Any) -> str:  # noqa: ANN401  # any distribution
    """Name a distribution by what it wraps: Bernoulli, not Independent."""
    while type(fn).__name__ in ("Independent", "MaskedDistribution"):
        fn = fn.base_dist
    return type(fn).__name__
