"""The optimizers of torch.optim that have no pure form here, and plain torch.optim classes and factories."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from aleator.errors import ParameterError, UnsupportedModelError
from aleator.optim import checkpoint
from aleator.optim.clipping import ClipLike, GradientClip, build_clip, read_clip
from aleator.optim.optimizer import Closure, Grads, Optimizer, OptimizerState, Params, touched
from aleator.optim.options import ByName, OptionsLike, check_known, check_rate, choose_form, read_by_name
from aleator.optim.torch_payload import load_torch_state
from aleator.optim.torch_run import TorchRun

__all__ = ["NamedTorchOptimizer", "TorchFactory", "TorchOptimizer"]

TorchFactory = Callable[..., torch.optim.Optimizer]

_PURE = "Adam, AdamW, ClippedAdam, SGD, RMSprop and Adagrad of aleator.optim have a pure form"


@final
@dataclass(frozen=True, init=False)
class TorchOptimizer(Optimizer):
    """An optimizer of torch.optim, for eager steps: one instance per run, one parameter group per set of options.

    Args:
        factory: a class of torch.optim; or a callable from a list of parameters to a torch.optim optimizer, which
            then takes no options here.
        options: a dict of options, or a callable from a parameter's name to such a dict.
        clip_args: gradient clipping per parameter, as for `PureOptimizer`.
        keywords: the options, when they are not given as a dict.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> adamax = optim.Adamax(lr=0.5)
        >>> params = {"a": torch.tensor(1.0, requires_grad=True)}
        >>> adamax.update_({"a": torch.tensor(2.0)}, adamax.init(params), params)
        >>> params["a"]
        tensor(0.5000, requires_grad=True)
    """

    factory: TorchFactory
    options: Mapping[str, Any] | ByName = field(hash=False)
    clip_args: GradientClip | ByName | None
    # What the callable said, by parameter name. Recomputable, so it belongs to the configuration.
    _options_by_name: dict[str, Mapping[str, Any]] = field(compare=False, repr=False)

    def __init__(
        self, factory: TorchFactory, options: OptionsLike = None, clip_args: ClipLike = None, **keywords: object
    ) -> None:
        object.__setattr__(self, "factory", factory)
        given = choose_form(self.name, options, keywords)
        object.__setattr__(self, "options", self._checked(self.name, given) if isinstance(given, Mapping) else given)
        object.__setattr__(self, "clip_args", read_clip(self.name, clip_args))
        object.__setattr__(self, "_options_by_name", {})

    @property
    def name(self) -> str:
        """The name of the torch.optim class or of the factory."""
        return str(getattr(self.factory, "__name__", type(self.factory).__name__))

    @property
    def has_pure_form(self) -> bool:
        """False."""
        return False

    @property
    def requires_closure(self) -> bool:
        """True for LBFGS, whose line search evaluates the loss several times."""
        return self._torch_class() is torch.optim.LBFGS

    def join(self, state: OptimizerState, params: Params) -> OptimizerState:
        """Return the state with an entry for each parameter that the run's optimizer does not know yet.

        LBFGS forgets its curvature when a parameter joins: it is a history of vectors of another length.
        """
        run = state.eager[0] if state.eager else TorchRun()
        new = {name: param for name, param in params.items() if name not in run.params}
        if state.eager and not new:
            return state
        if self.requires_closure and new:
            new = {**run.params, **new}
            run.optimizer = None
        alike: list[tuple[Mapping[str, Any], dict[str, Tensor]]] = []
        for name, param in new.items():
            options = self._options_for(name)
            members = next((members for other, members in alike if other == options), None)
            if members is None:
                members = {}
                alike.append((options, members))
            members[name] = param
        if self.requires_closure and len(alike) > 1:
            raise ValueError(f"{self.name} takes one set of options for all parameters, found {len(alike)}")
        parts = [(members, self._make(members, options), options) for options, members in alike]
        for members, part, options in parts:
            run.take_(members, part, self._home(run, options))
        return state._replace(learning_rates=run.rates(), eager=(run,))

    def update(self, grads: Grads, state: OptimizerState, params: Params) -> tuple[dict[str, Tensor], OptimizerState]:
        """Raise ``UnsupportedModelError``: torch.optim's optimizers change their parameters and themselves."""
        raise UnsupportedModelError(
            f"{self.name} of torch.optim steps in place and can be neither captured nor compiled; {_PURE}"
        )

    def update_(self, grads: Grads, state: OptimizerState, params: Params, *, closure: Closure | None = None) -> None:
        """Step the run's torch.optim optimizer."""
        names = touched(self.name, grads, params)
        run = self._run_of(state, names)
        if self.requires_closure:
            if closure is None:
                raise ValueError(f"{self.name} evaluates the loss several times a step: update_ needs a closure")
            evaluate = closure
            run.follow_(params)
            run.step_(None, lambda: self._evaluated(evaluate, params))
        elif names:
            run.follow_(params)
            run.step_(self._clipped(grads, names))

    def learning_rate(self, state: OptimizerState, name: str) -> Tensor:
        """Return the learning rate that the next step of a parameter uses."""
        leader = next(names[0] for names in self._run_of(state, [name]).groups() if name in names)
        if leader not in state.learning_rates:
            raise ParameterError(f"{self.name}: the options of parameter {name!r} have no learning rate 'lr'")
        return state.learning_rates[leader]

    def with_learning_rates(self, state: OptimizerState, rates: Mapping[str, Tensor]) -> OptimizerState:
        """Return the state with these learning rates, which the run's optimizer takes over."""
        for run in state.eager:
            run.set_rates_(rates)
        return state._replace(learning_rates=dict(rates))

    def state_to_payload(self, state: OptimizerState) -> dict[str, Any]:
        """Return torch's own ``state_dict`` and the names, shapes and dtypes it belongs to."""
        run = state.eager[0] if state.eager else TorchRun()
        return {
            "format": checkpoint.FORMAT,
            "optimizer": self.name,
            "groups": run.groups(),
            "params": {name: [str(param.dtype), *param.shape] for name, param in run.params.items()},
            "torch": {} if run.optimizer is None else copy.deepcopy(run.optimizer.state_dict()),
        }

    def state_from_payload(self, payload: Mapping[str, Any], params: Params) -> OptimizerState:
        """Return the state that `state_to_payload` wrote down; training continues bit for bit."""
        payload = checkpoint.check_header(self.name, payload)
        run, groups, kinds = TorchRun(), payload.get("groups"), payload.get("params")
        if not isinstance(groups, list) or not all(_is_group(names) for names in groups):
            raise checkpoint.misfit(self.name, "groups must be lists of parameter names")
        for names in groups:
            members = checkpoint.named_params(self.name, names, params)
            for name, param in members.items():
                found = kinds.get(name) if isinstance(kinds, Mapping) else None
                if found != [str(param.dtype), *param.shape]:
                    raise checkpoint.misfit(
                        self.name, f"parameter {name!r} is {param.dtype} {tuple(param.shape)}, it was {found}"
                    )
            try:
                run.take_(members, self._make(members, self._options_for(names[0])))
            except ValueError as error:
                raise checkpoint.misfit(self.name, str(error)) from error
        if run.optimizer is not None:
            leaves = [param for group in run.param_groups for param in group["params"]]
            try:
                load_torch_state(run.optimizer, payload["torch"], leaves)
            except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
                raise checkpoint.misfit(self.name, f"torch says: {error}") from error
        return OptimizerState({}, run.rates(), {}, {}, (run,))

    def _torch_class(self) -> type[torch.optim.Optimizer] | None:
        factory = self.factory
        return factory if isinstance(factory, type) and issubclass(factory, torch.optim.Optimizer) else None

    def _checked(self, owner: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        torch_class = self._torch_class()
        known = [] if torch_class is None else list(inspect.signature(torch_class).parameters.values())[1:]
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in known):
            check_known(owner, given, [parameter.name for parameter in known])
        if given.get("lr") is not None:
            try:
                check_rate(given["lr"])
            except (TypeError, ValueError) as error:
                raise type(error)(f"{owner}: {error}") from None
        return dict(given)

    def _options_for(self, name: str) -> Mapping[str, Any]:
        if isinstance(self.options, Mapping):
            return self.options
        if name not in self._options_by_name:
            given = read_by_name(self.name, "options", self.options, name)
            self._options_by_name[name] = self._checked(f"{self.name} (parameter {name!r})", given)
        return self._options_by_name[name]

    def _make(self, params: Params, options: Mapping[str, Any]) -> torch.optim.Optimizer:
        made: object = self.factory(list(params.values()), **options)
        if not isinstance(made, torch.optim.Optimizer):
            raise TypeError(
                f"the optimizer factory {self.name} must return a torch.optim optimizer, found {type(made).__name__}"
            )
        return made

    def _home(self, run: TorchRun, options: Mapping[str, Any]) -> dict[str, Any] | None:
        if self._torch_class() is None:
            return None  # a factory may have sorted its parameters into groups that only it understands
        for names, group in zip(run.groups(), run.param_groups, strict=True):
            if self._options_for(names[0]) == options:
                return group
        return None

    def _run_of(self, state: OptimizerState, names: list[str]) -> TorchRun:
        run = state.eager[0] if state.eager else TorchRun()
        missing = [name for name in names if name not in run.params]
        if missing:
            listed = ", ".join(repr(name) for name in missing)
            raise ParameterError(
                f"{self.name}: parameter {listed} never joined the state; call join(state, params) before the step"
            )
        return run

    def _clipped(self, grads: Grads, names: list[str]) -> dict[str, Tensor]:
        return {name: self._clip(name, grad) for name in names if (grad := grads[name]) is not None}

    def _clip(self, name: str, grad: Tensor) -> Tensor:
        clip = self.clip_args
        if clip is not None and not isinstance(clip, GradientClip):
            owner = f"{self.name} (parameter {name!r})"
            clip = build_clip(owner, read_by_name(self.name, "clip_args", clip, name))
        return grad if clip is None else clip.apply(grad)

    def _evaluated(self, closure: Closure, params: Params) -> tuple[Tensor, dict[str, Tensor]]:
        loss, grads = closure()
        return loss, self._clipped(grads, touched(self.name, grads, params))


def _is_group(names: object) -> bool:
    return isinstance(names, list) and names != [] and all(isinstance(name, str) for name in names)


@final
@dataclass(frozen=True)
class NamedTorchOptimizer:
    """An optimizer of torch.optim by its name in ``aleator.optim``; called with options, it makes a configuration.

    Example:
        >>> from aleator import optim
        >>> optim.NAdam({"lr": 0.01}).name
        'NAdam'
    """

    torch_class: type[torch.optim.Optimizer]

    def __call__(self, options: OptionsLike = None, clip_args: ClipLike = None, **keywords: object) -> TorchOptimizer:
        """Return the configuration; arguments as for `TorchOptimizer`."""
        return TorchOptimizer(self.torch_class, options, clip_args, **keywords)
