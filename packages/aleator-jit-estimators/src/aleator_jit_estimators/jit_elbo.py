"""The estimators of the evidence lower bound in compiled form, under the names that people know."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, final

from torch import Tensor

from aleator.infer import AbstractEstimator, Capabilities, get_estimator
from aleator.runtime import Run
from aleator_jit_estimators.compiled_estimator import AbstractCompiledEstimator
from aleator_svi_elbo.trace_elbo import Trace_ELBO
from aleator_svi_elbo.trace_graph_elbo import TraceGraph_ELBO
from aleator_svi_elbo.trace_mean_field_elbo import TraceMeanField_ELBO

if TYPE_CHECKING:
    from aleator_svi_elbo.loss_module import LossModule

__all__ = ["AbstractJitELBO", "JitTraceEnum_ELBO", "JitTraceGraph_ELBO", "JitTraceMeanField_ELBO", "JitTrace_ELBO"]

Program = Callable[..., Any]


class AbstractJitELBO(AbstractCompiledEstimator, ABC):
    """``compile`` of an estimator of the evidence lower bound, with that estimator's signature.

    Tensors anywhere in ``args`` and ``kwargs`` may change from call to call; all else in them, and all shapes, are part
    of the compiled code. An object counts as an instance of its eager class.

    Args:
        num_particles, max_plate_nesting, max_iarange_nesting, vectorize_particles, strict_enumeration_warning,
            ignore_jit_warnings, retain_graph: as in ``ELBO``.
        backend: as in ``compile``.
    """

    def __init__(
        self,
        num_particles: int = 1,
        max_plate_nesting: float = math.inf,
        max_iarange_nesting: int | None = None,
        vectorize_particles: bool = False,
        strict_enumeration_warning: bool = True,
        ignore_jit_warnings: bool = False,
        retain_graph: bool | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        eager: Any = self.eager_class()
        inner = eager(
            num_particles,
            max_plate_nesting,
            max_iarange_nesting,
            vectorize_particles,
            strict_enumeration_warning,
            ignore_jit_warnings,
            retain_graph,
        )
        super().__init__(inner, backend)

    @classmethod
    @abstractmethod
    def eager_class(cls) -> type[AbstractEstimator]:
        """Return the class of what is compiled."""

    @final
    def loss_and_surrogate_loss(
        self,
        model: Program,
        guide: Program,
        /,
        *args: Any,  # noqa: ANN401  # the programs' own
        **kwargs: Any,  # noqa: ANN401  # the programs' own
    ) -> tuple[Tensor, Tensor]:
        """Return the loss, detached, and a scalar whose gradient estimates that of the loss."""
        with Run():
            estimate = self.estimate(model, guide, *args, **kwargs)
        return estimate.loss, estimate.surrogate

    @final
    def __call__(self, model: Program, guide: Program, *example_args: Any, **kwargs: Any) -> LossModule:  # noqa: ANN401  # the programs' own arguments
        """Return a torch module whose forward is the differentiable loss, and whose parameters are the programs'."""
        from aleator_svi_elbo.loss_module import LossModule

        return LossModule(self, model, guide, example_args, kwargs)

    def __repr__(self) -> str:
        inside = repr(self.inner).partition("(")[2]
        stated = "" if self.backend == "auto" else f"{', ' if inside != ')' else ''}backend={self.backend!r}"
        return f"{type(self).__name__}({inside[:-1]}{stated})"


@final
class JitTrace_ELBO(AbstractJitELBO):  # the field's name for it
    """``Trace_ELBO`` with loss and gradient compiled.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import JitTrace_ELBO, Trace_ELBO
        >>> def model():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> elbo = JitTrace_ELBO(backend="eager")
        >>> isinstance(elbo, Trace_ELBO), elbo.loss(model, model), elbo.loss(model, model)
        (True, 0.0, 0.0)
    """

    capabilities: ClassVar[Capabilities] = Trace_ELBO.capabilities

    @classmethod
    def eager_class(cls) -> type[AbstractEstimator]:
        """Return ``Trace_ELBO``."""
        return Trace_ELBO


@final
class JitTraceGraph_ELBO(AbstractJitELBO):  # the field's name for it
    """``TraceGraph_ELBO`` with loss and gradient compiled."""

    capabilities: ClassVar[Capabilities] = TraceGraph_ELBO.capabilities

    @classmethod
    def eager_class(cls) -> type[AbstractEstimator]:
        """Return ``TraceGraph_ELBO``."""
        return TraceGraph_ELBO


@final
class JitTraceMeanField_ELBO(AbstractJitELBO):  # the field's name for it
    """``TraceMeanField_ELBO`` with loss and gradient compiled."""

    capabilities: ClassVar[Capabilities] = TraceMeanField_ELBO.capabilities

    @classmethod
    def eager_class(cls) -> type[AbstractEstimator]:
        """Return ``TraceMeanField_ELBO``."""
        return TraceMeanField_ELBO


@final
class JitTraceEnum_ELBO(AbstractJitELBO):  # the field's name for it
    """``TraceEnum_ELBO`` with loss and gradient compiled; it needs aleator-enum-discrete.

    Raises:
        MissingPluginError: aleator-enum-discrete is not installed.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True,
        enumeration=True,
        vectorized_particles=True,
        gradient_rules=frozenset({"pathwise", "score", "stl"}),
        bound="elbo",
    )

    @classmethod
    def eager_class(cls) -> type[AbstractEstimator]:
        """Return ``TraceEnum_ELBO``."""
        eager = get_estimator("TraceEnum_ELBO")
        eager.register(cls)
        return eager


for _jit in (JitTrace_ELBO, JitTraceGraph_ELBO, JitTraceMeanField_ELBO):
    _jit.eager_class().register(_jit)  # so that isinstance(JitTrace_ELBO(), Trace_ELBO) holds
