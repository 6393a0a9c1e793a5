"""What is checked: an estimator that the kit can make in several forms."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

from aleator import ParamStore
from aleator.infer import AbstractEstimator, get_estimator
from aleator.randomness import preserve

if TYPE_CHECKING:
    from aleator.infer import Capabilities

__all__ = ["Subject"]

Factory = Callable[..., AbstractEstimator]


@final
class Subject:
    """An estimator under test.

    Args:
        factory: the estimator's class, a function ``(**overrides) -> estimator``, or a registered name.

    Raises:
        TypeError: the factory is none of these, or does not give an estimator.

    Example:
        >>> from aleator_testing.reference import ReferenceELBO
        >>> subject = Subject(ReferenceELBO)
        >>> subject.name, subject.make(num_particles=2).num_particles, subject.supports("non_reparam")
        ('ReferenceELBO', 2, True)
    """

    def __init__(self, factory: Factory | str) -> None:
        self.registered_name = factory if isinstance(factory, str) else None
        found = get_estimator(factory) if isinstance(factory, str) else factory
        if not callable(found):
            raise TypeError(
                f"the kit checks an estimator's class, a function that makes one, or a registered name, but found "
                f"{type(found).__name__}"
            )
        self.factory: Factory = found
        try:
            with preserve(), ParamStore():  # what making it does is a check's business, and stays without effect here
                made = found()
        except TypeError as error:
            raise TypeError(
                f"{self.name} cannot be made without arguments ({error}); give a function that fills in the others: "
                f"lambda **options: {self.name}(..., **options)"
            ) from error
        if not isinstance(made, AbstractEstimator):
            raise TypeError(f"{self.name} gave {type(made).__name__}, which is no AbstractEstimator")
        self.estimator_class = type(made)

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.registered_name or getattr(self.factory, "__name__", None) or repr(self.factory)

    @property
    def capabilities(self) -> Capabilities:
        """What the estimator declares."""
        return self.estimator_class.capabilities

    def make(self, **overrides: Any) -> AbstractEstimator:  # noqa: ANN401  # the estimator's own arguments
        """Make an estimator; one that enumerates is not to warn of problems that have nothing to enumerate."""
        if self.capabilities.enumeration and self.accepts("strict_enumeration_warning"):
            overrides.setdefault("strict_enumeration_warning", False)
        return self.factory(**overrides)

    def supports(self, capability: str) -> bool:
        """Tell whether a capability is declared: a field that is true, or a gradient rule."""
        value = getattr(self.capabilities, capability, None)
        return value if isinstance(value, bool) else capability in self.capabilities.gradient_rules

    def accepts(self, argument: str) -> bool:
        """Tell whether the factory takes a keyword."""
        try:
            parameters = inspect.signature(self.factory).parameters
        except ValueError:
            return False
        if argument in parameters:
            return True
        # A factory that passes everything on, or a class whose metaclass answers for it: its __init__ knows.
        takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
        return takes_any and argument in inspect.signature(self.estimator_class.__init__).parameters
