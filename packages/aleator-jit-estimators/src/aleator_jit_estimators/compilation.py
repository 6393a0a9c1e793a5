"""``compile``: the door to compiled steps."""

from __future__ import annotations

from typing import TypeVar, overload

from aleator.infer import AbstractEstimator
from aleator_jit_estimators.compiled_estimator import AbstractCompiledEstimator, CompiledEstimator
from aleator_jit_estimators.compiled_step import CompiledStep, checked_backend
from aleator_jit_estimators.report import CompileReport
from aleator_svi_elbo.functional_svi import SVI
from aleator_svi_elbo.whole_step import WholeStep

__all__ = ["compile", "compile_report"]

T = TypeVar("T", bound=AbstractEstimator)


@overload
def compile(target: SVI, backend: str = ...) -> SVI: ...
@overload
def compile(target: AbstractEstimator, backend: str = ...) -> CompiledEstimator: ...
@overload
def compile(target: WholeStep, backend: str = ...) -> CompiledStep: ...
def compile(
    target: SVI | AbstractEstimator | WholeStep, backend: str = "auto"
) -> SVI | CompiledEstimator | CompiledStep:  # the field's word
    """Return a compiled twin: of a functional SVI its ``update`` as a whole, of an estimator its loss and gradient.

    Code is built at the first call with new shapes, dtypes or static values, and kept on disk for later processes.
    Where a program cannot be compiled, that is said once and it runs as it is; results are the same.

    Args:
        target: a functional SVI, any estimator, or a whole step with what it was made of (``SVI(..., compile=True)``
            takes its own).
        backend: ``"auto"``, an ahead-of-time package built by a child process while the first steps run as they are;
            ``"aot"``, the same, waited for (a C++ compiler is needed to build one, not to load it); ``"inductor"``,
            through Inductor in this process; ``"eager"``, the recorded graph node by node.

    Raises:
        TypeError: the target is neither.
        ValueError: there is no such backend.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import compile, functional
        >>> from aleator.optim import Adam
        >>> def model():
        ...     aleator.sample("z", dist.Normal(3.0, 1.0))
        >>> def guide():
        ...     aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.0)), 1.0))
        >>> svi = compile(functional.SVI(model, guide, "Trace_ELBO", Adam(lr=0.1)), backend="eager")
        >>> state, get_params = svi.init(0)
        >>> state, losses = svi.run(state, 100)
        >>> losses.shape
        torch.Size([100])
    """
    chosen = checked_backend(backend)
    if isinstance(target, SVI):
        origins = (target.loss, target.optim, *target.programs)
        return target.with_step(CompiledStep(target.step_function, origins, chosen))
    if isinstance(target, AbstractEstimator):
        return CompiledEstimator(target, chosen)
    if isinstance(target, WholeStep):
        return CompiledStep(target.step, target.origins, chosen)
    raise TypeError(
        f"compile expects a functional SVI (aleator.infer.functional.SVI) or an estimator, but found "
        f"{type(target).__name__}; for the stateful SVI write SVI(..., compile=True)"
    )


def compile_report(target: SVI | AbstractCompiledEstimator) -> CompileReport:
    """Return what compiling came to so far: counts, seconds, and why steps run uncompiled.

    Raises:
        TypeError: the target is not compiled.
    """
    if isinstance(target, AbstractCompiledEstimator):
        return target.report
    if isinstance(target, SVI) and isinstance(target.step_function, CompiledStep):
        return target.step_function.report
    raise TypeError(f"this {type(target).__name__} is not compiled; give it to compile() first")
