"""What an estimator states about itself, once, on its class."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final

__all__ = ["Capabilities"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an estimator can do; asking for anything else raises before the first step.

    The defaults describe the smallest useful estimator: one pathwise sample of an evidence lower bound.

    Attributes:
        non_reparam: latent sites without a reparameterized sampler are allowed.
        enumeration: discrete sites marked ``infer={"enumerate": ...}`` are summed out exactly.
        vectorized_particles: several particles run as one tensor dim.
        subsampling: the estimate stays unbiased under plates that subsample.
        compilable: ``estimate`` reads no number back from the device, so that a whole step can be captured.
        gradient_rules: the rules a site may ask for by ``infer={"gradient": ...}``.
        bound: the objective: ``"elbo"``, ``"iwae"``, ``"renyi"``, or an author's own word for it.

    Raises:
        TypeError: a field has a value of the wrong type.
        ValueError: ``bound`` or a gradient rule is the empty string.

    Example:
        >>> from aleator.plugins import Capabilities
        >>> Capabilities(non_reparam=True, gradient_rules=frozenset({"pathwise", "score"})).bound
        'elbo'
    """

    non_reparam: bool = False
    enumeration: bool = False
    vectorized_particles: bool = False
    subsampling: bool = True
    compilable: bool = True
    gradient_rules: frozenset[str] = frozenset({"pathwise"})
    bound: str = "elbo"

    def __post_init__(self) -> None:
        for field in fields(self)[:-2]:
            value = getattr(self, field.name)
            if not isinstance(value, bool):
                raise TypeError(f"Capabilities({field.name}=...) must be True or False, found {value!r}")
        rules: object = self.gradient_rules
        if not isinstance(rules, frozenset) or not all(isinstance(rule, str) for rule in rules):
            raise TypeError(f"Capabilities(gradient_rules=...) must be a frozenset of names, found {rules!r}")
        bound: object = self.bound
        if not isinstance(bound, str):
            raise TypeError(f"Capabilities(bound=...) must be a name such as 'elbo', found {self.bound!r}")
        if not bound or "" in rules:
            raise ValueError("Capabilities: a bound and a gradient rule have a name, found the empty string")
