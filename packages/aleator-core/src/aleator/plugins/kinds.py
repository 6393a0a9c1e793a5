"""The kinds of registered names: which hook lists them, and what their targets must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from aleator.plugins.specs import AbstractSpec, AlgorithmSpec, EstimatorSpec, HandlerSpec

__all__ = ["ALGORITHM", "ESTIMATOR", "HANDLER", "INFER_KEYS_HOOK", "KINDS", "Kind"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of name.

    Attributes:
        hook: the hook that lists names of this kind.
        spec: the type of descriptor that the hook gives.
        contract: the class that a target must derive from, as ``"module:attribute"``. It is text for the reason that
            targets are: this package stands below the one that defines the class, and imports it on first use only.
    """

    hook: str
    spec: type[AbstractSpec]
    contract: str | None = None

    @property
    def label(self) -> str:
        """The kind in words: ``"estimator"``."""
        return self.spec.label


ESTIMATOR = Kind(hook="aleator_estimators", spec=EstimatorSpec, contract="aleator.infer.estimator:AbstractEstimator")
HANDLER = Kind(hook="aleator_handlers", spec=HandlerSpec)
ALGORITHM = Kind(hook="aleator_algorithms", spec=AlgorithmSpec)
KINDS = (ESTIMATOR, ALGORITHM, HANDLER)
INFER_KEYS_HOOK = "aleator_infer_keys"
