"""The optimizers that are pure functions over mappings of tensors, and their in-place twin on fused kernels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from aleator.errors import ParameterError
from aleator.optim import checkpoint
from aleator.optim.clipping import ClipLike, GradientClip, build_clip, read_clip
from aleator.optim.kernels import fits_fused_kernel
from aleator.optim.optimizer import Closure, Grads, Optimizer, OptimizerState, Params, touched
from aleator.optim.options import ByName, Options, OptionsLike, build_options, read_by_name, read_options

__all__ = ["PureOptimizer", "Slots"]

OptionsType = TypeVar("OptionsType", bound=Options)
Slots = dict[str, Tensor]

_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, init=False)
class PureOptimizer(Optimizer, Generic[OptionsType]):
    """An optimizer written as a rule for one parameter.

    Args:
        options: a dict of options; a callable from a parameter's name to such a dict; or None for keywords.
        clip_args: gradient clipping per parameter: a dict with ``clip_norm`` and ``clip_value``, or a callable from
            a parameter's name to such a dict.
        keywords: the options, when they are not given as a dict.

    A subclass states its options and writes `initial_slots`, `rule` and, where torch has a kernel, `fused_`.
    """

    options: OptionsType | ByName
    clip_args: GradientClip | ByName | None
    # What the callables said, by parameter name. Recomputable, so it belongs to the configuration.
    _options_by_name: dict[str, OptionsType] = field(compare=False, repr=False)
    _clips_by_name: dict[str, GradientClip | None] = field(compare=False, repr=False)
    _leaders: dict[str, str] = field(compare=False, repr=False)

    def __init__(self, options: OptionsLike = None, clip_args: ClipLike = None, **keywords: object) -> None:
        owner = type(self).__name__
        object.__setattr__(self, "options", read_options(owner, self.options_type, options, keywords))
        object.__setattr__(self, "clip_args", read_clip(owner, clip_args))
        for cache in ("_options_by_name", "_clips_by_name", "_leaders"):
            object.__setattr__(self, cache, {})

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self).__name__

    @property
    def has_pure_form(self) -> bool:
        """True."""
        return True

    # What a subclass writes.

    @property
    @abstractmethod
    def options_type(self) -> type[OptionsType]:
        """The dataclass of this optimizer's options; a subclass states it as a class attribute."""

    @abstractmethod
    def initial_slots(self, param: Tensor, options: OptionsType) -> Slots:
        """Return what the rule keeps for a (real) parameter beside its step count."""

    @abstractmethod
    def rule(
        self,
        param: Tensor,
        grad: Tensor,
        slots: Slots,
        count: Tensor,
        rate: Tensor,
        options: OptionsType,
    ) -> tuple[Tensor, Slots]:
        """Return the parameter and its slots after one step; pure.

        Args:
            param: real floating-point tensor of any shape.
            grad: clipped gradient, of the same shape and dtype.
            slots: what `initial_slots` or the last step gave.
            count: the number of this step, 1 for the first, without dimensions, in the parameter's dtype.
            rate: learning rate, without dimensions, in the parameter's dtype.
            options: the parameter's options.
        """

    def fused_(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: list[Slots],
        rate: Tensor,
        options: OptionsType,
    ) -> bool:
        """Take the step by one of torch's fused kernels, step counts too; False where there is none for the options."""
        return False

    # What all of them share.

    def options_for(self, name: str) -> OptionsType:
        """Return the options of one parameter; a callable is asked once per name."""
        if isinstance(self.options, Options):
            return self.options
        found = self._options_by_name.get(name)
        if found is None:
            given = read_by_name(self.name, "options", self.options, name)
            found = build_options(f"{self.name} (parameter {name!r})", self.options_type, given)
            self._options_by_name[name] = found
        return found

    def clip_for(self, name: str) -> GradientClip | None:
        """Return the gradient clipping of one parameter, None for none; a callable is asked once per name."""
        if self.clip_args is None or isinstance(self.clip_args, GradientClip):
            return self.clip_args
        if name not in self._clips_by_name:
            given = read_by_name(self.name, "clip_args", self.clip_args, name)
            self._clips_by_name[name] = build_clip(f"{self.name} (parameter {name!r})", given)
        return self._clips_by_name[name]

    def join(self, state: OptimizerState, params: Params) -> OptimizerState:
        """Return the state with an entry, at step count 0, for each parameter that it does not know yet."""
        if params.keys() <= state.slots.keys():
            return state
        slots, rates = dict(state.slots), dict(state.learning_rates)
        for name, param in params.items():
            if name in slots:
                continue
            real = _real(self.name, name, param)
            options = self.options_for(name)
            if self._leader(name, rates) is None:
                rates[name] = _initial_rate(options.lr, param)
            step = torch.zeros((), dtype=torch.float32, device=param.device)
            slots[name] = {"step": step, **self.initial_slots(real, options)}
        return state._replace(slots=slots, learning_rates=rates)

    def update(self, grads: Grads, state: OptimizerState, params: Params) -> tuple[dict[str, Tensor], OptimizerState]:
        """Return parameters and state after one step, as new tensors; nothing given is changed."""
        names = self._check(grads, state, params)
        new_params, new_slots = dict(params), dict(state.slots)
        with torch.no_grad():
            for options, rate, group in self._groups(names, state.learning_rates):
                for name in group:
                    grad = self._clipped(name, grads)
                    new_params[name], new_slots[name] = self._apply(
                        params[name], grad, state.slots[name], rate, options
                    )
        return new_params, state._replace(slots=new_slots)

    def update_(self, grads: Grads, state: OptimizerState, params: Params, *, closure: Closure | None = None) -> None:
        """Take the same step in place, by one fused kernel per set of options where torch has one."""
        names = self._check(grads, state, params)
        with torch.no_grad():
            for options, rate, group in self._groups(names, state.learning_rates):
                for alike in _alike(group, params):
                    leaves = [params[name] for name in alike]
                    steepest = [self._clipped(name, grads) for name in alike]
                    slots = [state.slots[name] for name in alike]
                    if fits_fused_kernel(leaves, steepest, slots) and self.fused_(
                        leaves, steepest, slots, rate, options
                    ):
                        continue
                    for param, grad, slot in zip(leaves, steepest, slots, strict=True):
                        self._apply_(param, grad, slot, rate, options)

    def learning_rate(self, state: OptimizerState, name: str) -> Tensor:
        """Return the learning rate that the next step of a parameter uses."""
        leader = self._leader(name, state.learning_rates)
        if leader is None:
            raise ParameterError(self._never_joined([name]))
        return state.learning_rates[leader]

    def with_learning_rates(self, state: OptimizerState, rates: Mapping[str, Tensor]) -> OptimizerState:
        """Return the state with these learning rates."""
        return state._replace(learning_rates=dict(rates))

    def state_to_payload(self, state: OptimizerState) -> dict[str, Any]:
        """Return the state as nested dicts of tensors, independent of the run."""
        return checkpoint.to_payload(self.name, state)

    def state_from_payload(self, payload: Mapping[str, Any], params: Params) -> OptimizerState:
        """Return the state that `state_to_payload` wrote down; training continues bit for bit."""
        state = checkpoint.from_payload(self.name, payload, params, self.init)
        for name in state.slots:
            if self._leader(name, state.learning_rates) is None:
                raise checkpoint.misfit(self.name, f"no learning rate for the options of parameter {name!r}")
        return state

    def _check(self, grads: Grads, state: OptimizerState, params: Params) -> list[str]:
        names = touched(self.name, grads, params)
        if not state.slots.keys() >= set(names):
            raise ParameterError(self._never_joined([name for name in names if name not in state.slots]))
        return names

    def _never_joined(self, names: list[str]) -> str:
        listed = ", ".join(repr(name) for name in names)
        return f"{self.name}: parameter {listed} never joined the state; call join(state, params) before the step"

    def _groups(self, names: list[str], rates: dict[str, Tensor]) -> Iterator[tuple[OptionsType, Tensor, list[str]]]:
        if len(rates) == 1:  # one learning rate means one set of options: nothing to sort
            for only, rate in rates.items():
                yield self.options_for(only), rate, names
            return
        groups: dict[str, list[str]] = {}
        for name in names:
            leader = self._leader(name, rates)
            if leader is None:
                raise ParameterError(f"{self.name}: the state has no learning rate for parameter {name!r}")
            groups.setdefault(leader, []).append(name)
        for first, group in groups.items():
            yield self.options_for(first), rates[first], group

    def _leader(self, name: str, rates: Mapping[str, Tensor]) -> str | None:
        """Return the parameter under whose name this one's learning rate stands."""
        known = self._leaders.get(name)
        if known is not None and known in rates:
            return known
        options = self.options_for(name)
        for candidate in rates:
            other = self.options_for(candidate)
            if other is options or other == options:
                self._leaders[name] = candidate
                return candidate
        return None

    def _clipped(self, name: str, grads: Grads) -> Tensor:
        grad = grads[name]
        assert grad is not None  # `touched` left those out
        clip = self.clip_args if self.clip_args is None else self.clip_for(name)
        return grad if clip is None else clip.apply(grad)

    def _apply(
        self, param: Tensor, grad: Tensor, slots: Slots, rate: Tensor, options: OptionsType
    ) -> tuple[Tensor, Slots]:
        """Run the rule on real numbers of at least single precision, and give back what was handed in."""
        kept = {key: value for key, value in slots.items() if key != "step"}
        step = slots["step"] + 1
        if param.is_complex():
            real, kept = self._apply_real(
                torch.view_as_real(param), torch.view_as_real(grad.resolve_conj()), kept, step, rate, options
            )
            return torch.view_as_complex(real), {"step": step, **kept}
        new, kept = self._apply_real(param, grad, kept, step, rate, options)
        return new, {"step": step, **kept}

    def _apply_real(
        self, param: Tensor, grad: Tensor, slots: Slots, step: Tensor, rate: Tensor, options: OptionsType
    ) -> tuple[Tensor, Slots]:
        narrow = param.dtype
        wide = torch.float32 if narrow in _HALF else narrow
        param, grad = param.to(wide), grad.to(wide)
        slots = {key: value.to(wide) for key, value in slots.items()}
        rate = rate.to(device=param.device, dtype=wide)
        param, slots = self.rule(param, grad, slots, step.to(wide), rate, options)
        return param.to(narrow), {key: value.to(narrow) for key, value in slots.items()}

    def _apply_(self, param: Tensor, grad: Tensor, slots: Slots, rate: Tensor, options: OptionsType) -> None:
        new, new_slots = self._apply(param, grad, slots, rate, options)
        param.copy_(new)
        for key, value in new_slots.items():
            slots[key].copy_(value)


def _real(optimizer: str, name: str, param: object) -> Tensor:
    if not isinstance(param, Tensor):
        raise TypeError(f"{optimizer}: parameter {name!r} must be a tensor, found {type(param).__name__}")
    if param.is_complex():
        return torch.view_as_real(param.detach())
    if not param.is_floating_point():
        raise ParameterError(f"{optimizer}: parameter {name!r} must be floating-point, found {param.dtype}")
    return param.detach()


def _initial_rate(lr: float | Tensor, param: Tensor) -> Tensor:
    """Return a learning rate of its own tensor, in double precision where the device has it."""
    dtype = checkpoint.rate_dtype(param.device)
    if isinstance(lr, Tensor):
        return lr.detach().reshape(()).to(device=param.device, dtype=dtype, copy=True)
    return torch.full((), lr, dtype=dtype, device=param.device)


def _alike(names: list[str], params: Params) -> Iterator[list[str]]:
    """Yield the names in lots of one dtype and one device, which is what a fused kernel takes."""
    kinds = {(params[name].dtype, params[name].device) for name in names}
    if len(kinds) <= 1:
        if names:
            yield names
        return
    lots: dict[tuple[torch.dtype, torch.device], list[str]] = {}
    for name in names:
        lots.setdefault((params[name].dtype, params[name].device), []).append(name)
    yield from lots.values()
