"""Any estimator with loss and gradient in compiled form."""

from __future__ import annotations

import time
from abc import ABC
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

import aleator
from aleator.infer import AbstractEstimator, Capabilities, Estimate
from aleator.infer.estimator import Program
from aleator.infer.step import ParamRecorder, Step, differentiate
from aleator.params import current_store
from aleator.randomness import is_interpreted
from aleator.runtime import STACK, Run
from aleator.validation import PendingChecks
from aleator_jit_estimators.compiled_step import Backend, CompiledStep, checked_backend
from aleator_jit_estimators.report import CompileReport, total
from aleator_svi_elbo.whole_step import NewParameterError, NewParameters

__all__ = ["AbstractCompiledEstimator", "CompiledEstimator"]

_MOST_PROGRAMS = 64


class _Compiled(NamedTuple):
    """The compiled step of two programs, which are kept so that their identities stay theirs."""

    names: tuple[str, ...]
    step: CompiledStep
    plain: Step
    programs: tuple[Any, Any]

    def taken(self, *arguments: Any) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:  # noqa: ANN401  # a step's
        """Take the step by code, or as it is where there is none, and note how long that took."""
        spent, begin = self.step.report.seconds, time.perf_counter()
        result = self.step.code(*arguments)
        if result is not None:
            if self.step.report.seconds == spent:  # the call has neither recorded nor built
                self.step.note_compiled(time.perf_counter() - begin)
            return result
        begin = time.perf_counter()
        result = self.plain(*arguments)
        self.step.note_eager(time.perf_counter() - begin)
        return result


@final
class _Code:
    """Compiled code by programs: it can be made again, so it is no part of an estimator's state, nor of a copy."""

    __slots__ = ("by_programs",)

    def __init__(self) -> None:
        self.by_programs: dict[tuple[Any, ...], _Compiled] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Code)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "code"

    def __reduce__(self) -> tuple[type[_Code], tuple[()]]:
        return _Code, ()

    def __deepcopy__(self, memo: object) -> _Code:
        return _Code()


class AbstractCompiledEstimator(AbstractEstimator, ABC):
    """An estimator whose loss and gradient run as compiled code; its result is that of the estimator inside.

    It cannot be changed, and a copy has no code yet.

    The first estimate of two programs runs as it is and creates their parameters, and so does one that meets a new
    parameter. A subclass states its capabilities and says which estimator is inside.

    Args:
        inner: the estimator.
        backend: see ``compile``.
    """

    inner: AbstractEstimator
    backend: Backend
    _code: _Code

    def __init__(self, inner: AbstractEstimator, backend: str = "auto") -> None:
        self.__dict__.update(inner=inner, backend=checked_backend(backend), _code=_Code())

    @property
    def report(self) -> CompileReport:
        """What compiling came to so far, over all programs."""
        return total(each.step.report for each in self._code.by_programs.values())

    def estimate(self, model: Any, guide: Any, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # the programs' own
        """Return loss and surrogate; the surrogate's gradient is the compiled one."""
        if is_interpreted() or not all(isinstance(handler, ParamRecorder) for handler in STACK.get()):
            return self.inner.estimate(model, guide, *args, **kwargs)
        key = _identity(model), _identity(guide)
        found = self._code.by_programs.get(key)
        store = current_store()
        if found is None or not set(found.names) <= set(store):
            return self._first(key, model, guide, args, kwargs)
        leaves = {name: store.unconstrained(name) for name in found.names}
        buffers = dict(store.buffers.items())
        token = STACK.set(())  # a recorder around must not take the step's own leaves for the store's
        try:
            result = found.taken(leaves, (), buffers, (args, kwargs))
        except NewParameterError:
            result = None
        finally:
            STACK.reset(token)
        if result is None:
            return self._first(key, model, guide, args, kwargs)
        grads, _, new_buffers, loss = result
        for name in found.names:
            aleator.param(name)  # so that recorders around hear of it
        updates = {name: value for name, value in new_buffers.items() if value is not buffers.get(name)}
        if not torch.is_grad_enabled():
            return Estimate(loss, loss, updates=updates)
        used = [name for name in leaves if name in grads]
        surrogate = _WithGradient.apply(loss, *(grads[name] for name in used), *(leaves[name] for name in used))  # type: ignore[no-untyped-call]  # torch's
        return Estimate(loss, surrogate, updates=updates)

    def explained_by(self, model: Program, guide: Program) -> tuple[AbstractEstimator, Sequence[str]]:
        """Return the estimator inside, and what compiling these programs came to so far."""
        estimator, said = self.inner.explained_by(model, guide)
        found = self._code.by_programs.get((_identity(model), _identity(guide)))
        report = CompileReport() if found is None else found.step.report
        return estimator, (*said, f"compiled, backend {self.backend!r}:", *str(report).splitlines())

    def _first(
        self,
        key: tuple[Any, ...],
        model: Program,
        guide: Program,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Estimate:
        """Run as it is, and note the parameters; those of other arguments stay noted."""
        recorder = ParamRecorder()
        with recorder:
            estimate = self.inner.estimate(model, guide, *args, **kwargs)
        compiled = self._code.by_programs
        known = compiled.pop(key, None)
        kept = () if known is None else (name for name in known.names if name in current_store())
        names = tuple(dict.fromkeys((*kept, *recorder.leaves)))
        if known is None:
            while len(compiled) >= _MOST_PROGRAMS:
                del compiled[next(iter(compiled))]
            plain = _gradient_step(self.inner, model, guide)
            step = CompiledStep(plain, (self.inner, model, guide), self.backend)
            known = _Compiled(names, step, plain, (model, guide))
        compiled[key] = known._replace(names=names)
        return estimate

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # the inner estimator's own
        """Look public attributes up in the estimator inside: ``num_particles`` and the like."""
        if name.startswith("_") or name == "inner":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed; make another one")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.inner, self.backend))

    def __repr__(self) -> str:
        return f"compile({self.inner!r}, backend={self.backend!r})"


@final
class CompiledEstimator(AbstractCompiledEstimator):
    """What ``compile`` makes of an estimator."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, enumeration=True, vectorized_particles=True, bound="compiled"
    )

    def __init__(self, inner: AbstractEstimator, backend: str = "auto") -> None:
        super().__init__(inner, backend)
        # What the class states is what it may be; an object can do what the estimator inside can.
        self.__dict__["capabilities"] = inner.capabilities
        self.__dict__["own_gradient_rules"] = inner.own_gradient_rules


def _identity(program: Any) -> Any:  # noqa: ANN401  # a program
    """Name a program by what it is made of: methods are new objects whenever they are looked up."""
    if isinstance(program, MethodType):
        return id(program.__self__), id(program.__func__)
    return id(program)


def _gradient_step(estimator: AbstractEstimator, model: Any, guide: Any) -> Step:  # noqa: ANN401  # programs
    """Return loss, gradients and buffers in the form of a step that moves nothing."""

    def step(
        params: Mapping[str, Tensor],
        opt_state: Any,  # noqa: ANN401  # not used
        buffers: Mapping[str, Tensor],
        args: tuple[Any, ...],
    ) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        run, bound = Run(checks=PendingChecks(keep=False)), current_store().bind(leaves, buffers)
        with run, bound, NewParameters(leaves), torch.enable_grad():
            result = differentiate(estimator, model, guide, args[0], args[1])
        return dict(result.grads), opt_state, {**buffers, **result.updates}, result.loss

    return step


class _WithGradient(torch.autograd.Function):
    """A number whose gradient is known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *given: Tensor) -> Tensor:  # noqa: ANN401  # torch's signature
        ctx.save_for_backward(*given[: len(given) // 2])
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # torch's signature
        grads = ctx.saved_tensors
        return (None, *(None for _ in grads), *(grad * outer for grad in grads))
