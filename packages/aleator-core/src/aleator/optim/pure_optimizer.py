"""The optimizers that are pure functions over mappings of tensors, and their in-place twin on fused kernels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from aleator.errors import ParameterError
from aleator.optim import checkpoint
from aleator.optim.clipping import ClipLike, GradientClip, build_clip, read_clip
from aleator.optim.kernels import fits_fused_kernel
from aleator.optim.leaves import alike, check_memory, initial_rate, real_view, wide_dtype
from aleator.optim.optimizer import Closure, Grads, Optimizer, OptimizerState, Params, touched
from aleator.optim.options import ByName, Options, OptionsLike, build_options, read_by_name, read_options

__all__ = ["PureOptimizer", "Slots"]

OptionsType = TypeVar("OptionsType", bound=Options)
Slots = dict[str, Tensor]


class Lot(NamedTuple, Generic[OptionsType]):
    """Touched parameters of one set of options, one dtype and one device, with all that a step needs."""

    names: list[str]
    params: list[Tensor]
    grads: list[Tensor]
    slots: list[Slots]
    rate: Tensor
    options: OptionsType


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
    def factors(self, counts: Tensor, rates: Tensor, options: OptionsType) -> tuple[Tensor, ...]:
        """Return the numbers of a step that are the same for all elements of a parameter; pure.

        Args:
            counts: for ``n`` parameters at once, the number of the step that each takes now, 1 for the first;
                shape ``(n,)``.
            rates: their learning rates, shape ``(n,)``.
            options: their options.
        """

    @abstractmethod
    def rule(
        self, param: Tensor, grad: Tensor, slots: Slots, factors: tuple[Tensor, ...], options: OptionsType
    ) -> tuple[Tensor, Slots]:
        """Return the parameter and its slots after one step; pure.

        Args:
            param: real floating-point tensor of any shape.
            grad: clipped gradient, of the same shape and dtype.
            slots: what `initial_slots` or the last step gave.
            factors: this parameter's entries of `factors`, without dimensions, in the parameter's dtype.
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
            real = real_view(self.name, name, param)
            options = self.options_for(name)
            if self._leader(name, rates) is None:
                rates[name] = initial_rate(options.lr, param)
            step = torch.zeros((), dtype=torch.float32, device=param.device)
            slots[name] = {"step": step, **self.initial_slots(real, options)}
        return state._replace(slots=slots, learning_rates=rates)

    def update(self, grads: Grads, state: OptimizerState, params: Params) -> tuple[dict[str, Tensor], OptimizerState]:
        """Return parameters and state after one step, as new tensors; nothing given is changed."""
        new_params, new_slots = dict(params), dict(state.slots)
        with torch.no_grad():
            for lot in self._lots(grads, state, params):
                for name, param, slots in zip(lot.names, *self._stepped(lot), strict=True):
                    new_params[name], new_slots[name] = param, slots
        return new_params, state._replace(slots=new_slots)

    def update_(self, grads: Grads, state: OptimizerState, params: Params, *, closure: Closure | None = None) -> None:
        """Take the same step in place, by one fused kernel per set of options where torch has one."""
        with torch.no_grad():
            for lot in self._lots(grads, state, params):
                _, leaves, steepest, slots, rate, options = lot
                if fits_fused_kernel(leaves, steepest, slots) and self.fused_(leaves, steepest, slots, rate, options):
                    continue
                new_params, new_slots = self._stepped(lot)
                for param, slot, new_param, new_slot in zip(leaves, slots, new_params, new_slots, strict=True):
                    param.copy_(new_param)
                    for key, value in new_slot.items():
                        slot[key].copy_(value)

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

    def _never_joined(self, names: list[str]) -> str:
        listed = ", ".join(repr(name) for name in names)
        return f"{self.name}: parameter {listed} never joined the state; call join(state, params) before the step"

    def _lots(self, grads: Grads, state: OptimizerState, params: Params) -> list[Lot[OptionsType]]:
        """Return the touched parameters in lots of one set of options, one dtype and one device."""
        names = touched(self.name, grads, params)
        if not state.slots.keys() >= set(names):
            raise ParameterError(self._never_joined([name for name in names if name not in state.slots]))
        for name in names:
            check_memory(self.name, name, params[name], state.slots[name])
        lots = []
        for leader, group in self._groups(names, state.learning_rates).items():
            rate, options = state.learning_rates[leader], self.options_for(leader)
            for same in alike(group, params):
                leaves, slots = [params[name] for name in same], [state.slots[name] for name in same]
                lots.append(Lot(same, leaves, [self._clipped(name, grads) for name in same], slots, rate, options))
        return lots

    def _groups(self, names: list[str], rates: dict[str, Tensor]) -> dict[str, list[str]]:
        """Return the names by the parameter under whose name their learning rate stands."""
        if len(rates) == 1:  # one learning rate means one set of options: nothing to sort
            return dict.fromkeys(rates, names)
        groups: dict[str, list[str]] = {}
        for name in names:
            leader = self._leader(name, rates)
            if leader is None:
                raise ParameterError(f"{self.name}: the state has no learning rate for parameter {name!r}")
            groups.setdefault(leader, []).append(name)
        return groups

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

    def _stepped(self, lot: Lot[OptionsType]) -> tuple[list[Tensor], list[Slots]]:
        """Run the rule on every parameter of a lot."""
        steps = [slots["step"] + 1 for slots in lot.slots]
        dtype = wide_dtype(lot.params[0].dtype)
        new_params, new_slots = [], []
        factors = self.factors_for(steps, lot.rate, lot.options, dtype)
        for param, grad, slots, step, factor in zip(lot.params, lot.grads, lot.slots, steps, factors, strict=True):
            rule = self.rule if param.dtype is dtype else self._converted_rule
            new_param, kept = rule(param, grad, slots, factor, lot.options)
            new_params.append(new_param)
            new_slots.append({"step": step, **kept})
        return new_params, new_slots

    def factors_for(
        self, steps: list[Tensor], rate: Tensor, options: OptionsType, dtype: torch.dtype
    ) -> list[tuple[Tensor, ...]]:
        """Return each parameter's factors, computed for all of them at once in the learning rate's precision."""
        counts = torch.stack(steps)
        rate = rate.to(counts.device)
        vectors = self.factors(counts.to(rate.dtype), rate.expand(len(steps)), options)
        return list(zip(*(vector.to(dtype).unbind() for vector in vectors), strict=True))

    def _converted_rule(
        self, param: Tensor, grad: Tensor, slots: Slots, factors: tuple[Tensor, ...], options: OptionsType
    ) -> tuple[Tensor, Slots]:
        """Run the rule on real numbers of at least single precision, and give back what was handed in."""
        if param.is_complex():
            real, imaginary_last = torch.view_as_real(param.resolve_conj()), torch.view_as_real(grad.resolve_conj())
            new, kept = self._converted_rule(real, imaginary_last, slots, factors, options)
            return torch.view_as_complex(new), kept
        wide = wide_dtype(param.dtype)
        slots = {key: value.to(wide) for key, value in slots.items()}
        new, kept = self.rule(param.to(wide), grad.to(wide), slots, factors, options)
        return new.to(param.dtype), {key: value.to(param.dtype) for key, value in kept.items()}
