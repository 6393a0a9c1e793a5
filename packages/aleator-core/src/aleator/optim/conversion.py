"""What may stand where an optimizer is expected."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from importlib import import_module

import torch

from aleator.optim.clipping import ClipLike
from aleator.optim.optimizer import Optimizer
from aleator.optim.options import OptionsLike
from aleator.optim.pure_optimizer import PureOptimizer
from aleator.optim.torch_optimizer import NamedTorchOptimizer, TorchOptimizer

__all__ = ["as_optimizer", "configure"]

_PURE_FORMS = {
    torch.optim.Adagrad: "adagrad",
    torch.optim.Adam: "adam",
    torch.optim.AdamW: "adam",
    torch.optim.RMSprop: "rmsprop",
    torch.optim.SGD: "sgd",
}
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)
_EXPECTED = (
    "an optimizer of aleator.optim, such as Adam({'lr': 1e-3}), a class of torch.optim, or a factory from a list of "
    "parameters to a torch.optim optimizer"
)


def as_optimizer(thing: object) -> Optimizer:
    """Return ``thing`` as an optimizer configuration.

    Args:
        thing: an `Optimizer`; a class of ``torch.optim``; or a factory from a list of parameters to a torch.optim
            optimizer: a function of one argument, or a ``functools.partial``. Classes and factories step eagerly and
            have no pure form.

    Raises:
        TypeError: it is none of these; the message says what was found.

    Example:
        >>> import functools, torch
        >>> from aleator import optim
        >>> optim.as_optimizer(functools.partial(torch.optim.Adam, lr=0.1)).options
        {'lr': 0.1}
    """
    if isinstance(thing, Optimizer):
        return thing
    if isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer):
        return TorchOptimizer(thing)
    if isinstance(thing, functools.partial) and not thing.args and _is_torch_class(thing.func):
        return TorchOptimizer(thing.func, thing.keywords)
    if isinstance(thing, _FUNCTIONS) and _takes_one_argument(thing):
        return TorchOptimizer(thing)
    raise TypeError(f"expected {_EXPECTED}; found {_described(thing)}")


def configure(thing: object, options: OptionsLike, clip_args: ClipLike = None) -> Optimizer:
    """Return the configuration that an optimizer's name and its options describe, in its pure form where it has one.

    Args:
        thing: a class of ``aleator.optim`` or of ``torch.optim``, or a factory as `as_optimizer` takes it.
        options: the options, as a dict or by parameter name.
        clip_args: gradient clipping, as a dict or by parameter name.
    """
    if isinstance(thing, NamedTorchOptimizer):
        return thing(options, clip_args)
    if isinstance(thing, type) and issubclass(thing, PureOptimizer):
        return thing(options, clip_args)
    if isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer):
        pure = _pure_form(thing)
        return TorchOptimizer(thing, options, clip_args) if pure is None else pure(options, clip_args)
    if isinstance(thing, Optimizer):
        raise TypeError(
            f"the options of {thing.name} are fixed: write Scheduled(optimizer, schedule), or give the class and "
            "its 'optim_args'"
        )
    raise TypeError(f"expected a class of aleator.optim or torch.optim; found {_described(thing)}")


def _pure_form(torch_class: type[torch.optim.Optimizer]) -> Callable[..., Optimizer] | None:
    home = _PURE_FORMS.get(torch_class)
    if home is None:
        return None
    pure: Callable[..., Optimizer] = getattr(import_module(f"aleator.optim.{home}"), torch_class.__name__)
    return pure


def _is_torch_class(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer)


def _takes_one_argument(function: Callable[..., object]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return len(required) == 1 or (not required and len(parameters) > 0)


def _described(thing: object) -> str:
    if isinstance(thing, NamedTorchOptimizer) or (isinstance(thing, type) and issubclass(thing, Optimizer)):
        name = thing.torch_class.__name__ if isinstance(thing, NamedTorchOptimizer) else thing.__name__
        return f"{name} itself; call it: {name}({{'lr': 1e-3}})"
    if isinstance(thing, type):
        return f"the class {thing.__module__}.{thing.__qualname__}"
    if isinstance(thing, torch.optim.Optimizer):
        return f"a torch.optim.{type(thing).__name__} that is bound to its own parameters; pass its class or a factory"
    if isinstance(thing, _FUNCTIONS):
        name = getattr(thing, "__name__", repr(thing))
        return f"the function {name}, which does not take one list of parameters"
    return f"an instance of {type(thing).__module__}.{type(thing).__qualname__}"
