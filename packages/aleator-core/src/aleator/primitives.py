"""What a model and a guide are written with: sample, param, deterministic, factor and module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from aleator import settings, validation
from aleator.distributions import Delta, Unit
from aleator.handlers.infer_config import check_infer_keys
from aleator.handlers.mask import MaskMessenger
from aleator.handlers.scope import scoped_parameter
from aleator.observations import as_observation, check_observed
from aleator.params import current_store
from aleator.runtime import RUN, apply_stack
from aleator.scoring import DETERMINISTIC
from aleator.sites import Site

__all__ = ["deterministic", "factor", "module", "param", "sample"]


def sample(
    name: str,
    fn: Any,  # noqa: ANN401  # a distribution, or a callable with log_prob
    *args: Any,  # noqa: ANN401  # passed to the draw
    obs: Any = None,  # noqa: ANN401  # a tensor, or a number
    obs_mask: Tensor | bool | None = None,
    infer: dict[str, Any] | None = None,
    **kwargs: Any,  # noqa: ANN401  # passed to the draw
) -> Any:  # noqa: ANN401  # what the distribution draws: a tensor nearly always
    """Draw from a distribution at a named site, or observe data there.

    Args:
        name: unique in its run.
        fn: the distribution; a plain ``torch.distributions`` object will do.
        args, kwargs: passed to the draw (a sample shape, for instance).
        obs: the data; the site is then observed.
        obs_mask: which elements of ``obs`` are observed, over the batch shape; the others are drawn. The sites are then
            ``<name>_observed``, ``<name>_unobserved``, and a deterministic ``<name>`` with both.
        infer: options for algorithms; a key that nobody reads warns once, with the nearest known key.

    Returns:
        The drawn or observed value, of shape ``fn.batch_shape`` (widened by plates) + ``fn.event_shape``.

    Raises:
        SupportError: an observed value outside the support of the distribution.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> aleator.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(2.0))
        tensor(2.)
    """
    if not isinstance(name, str):
        raise TypeError(f"sample expects the site's name first, as a str, but found {type(name).__name__}")
    if obs_mask is not None:
        return _sample_partly_observed(name, fn, obs, obs_mask, infer)
    if infer is not None:
        check_infer_keys(name, infer)
        infer = dict(infer)
    site = Site("sample", name, fn, args, kwargs, as_observation(obs, fn), obs is not None, infer)
    return _apply_sample(site)


def _apply_sample(site: Site) -> Any:  # noqa: ANN401  # a site's value has any type
    pending = validation.PENDING.get()
    if pending is not None and pending.keep:
        pending.owners.append((site, site.fn))
    value = apply_stack(site)
    if site.is_observed and settings.get().validate:
        check_observed(site)
    return value


def _sample_partly_observed(
    name: str,
    fn: Any,  # noqa: ANN401  # as in sample
    obs: Any,  # noqa: ANN401  # as in sample
    obs_mask: Tensor | bool,
    infer: dict[str, Any] | None,
) -> Tensor:
    mask = torch.as_tensor(obs_mask)
    if mask.dtype is not torch.bool:
        raise ValueError(f"site {name!r}: obs_mask must be bool, but has dtype {mask.dtype}; write obs_mask.bool()")
    if obs is None:
        if bool(mask.any()):
            raise ValueError(f"site {name!r}: obs_mask says that elements are observed, but obs is None")
        obs = fn.sample() if not hasattr(fn, "draw_like") else fn.draw_like()
    with MaskMessenger(mask):
        observed = sample(f"{name}_observed", fn, obs=obs, infer=infer)
    with MaskMessenger(~mask):
        unobserved = sample(f"{name}_unobserved", fn, infer=infer)
    event_dim = len(fn.event_shape)
    value = torch.where(mask.reshape(mask.shape + (1,) * event_dim), observed, unobserved)
    return deterministic(name, value, event_dim=event_dim)


def deterministic(name: str, value: Tensor, event_dim: int | None = None) -> Tensor:
    """Record a value that follows from others, so that traces and posteriors show it; its log-probability is zero.

    Args:
        name: unique in its run.
        value: the value.
        event_dim: how many of the rightmost dims are one draw; by default all.

    Example:
        >>> import torch, aleator
        >>> aleator.deterministic("half", torch.tensor(1.0) / 2)
        tensor(0.5000)
    """
    value = torch.as_tensor(value)
    fn = Delta(value, event_dim=value.dim() if event_dim is None else event_dim).mask(False)
    site = Site("sample", name, fn, value=value, is_observed=True)
    site.stash[DETERMINISTIC] = True
    return apply_stack(site)  # type: ignore[no-any-return]  # the tensor given


def factor(name: str, log_factor: Tensor | float, *, has_rsample: bool | None = None) -> None:
    """Add a term to the model's log density.

    Args:
        name: unique in its run.
        log_factor: the term, over the batch shape of the plates around it.
        has_rsample: in a guide, whether the term depends on the guide's parameters through reparameterized draws alone;
            must be stated there.

    Example:
        >>> import torch, aleator
        >>> aleator.factor("penalty", torch.tensor(-1.0))
    """
    unit = Unit(torch.as_tensor(log_factor), has_rsample=has_rsample)
    apply_stack(Site("sample", name, unit, value=unit.sample(), is_observed=True, infer={"is_auxiliary": True}))


def param(
    name: str,
    init: Tensor | Callable[[], Tensor] | float | None = None,
    constraint: Constraint = constraints.real,
    event_dim: int | None = None,
) -> Tensor:
    """Return a parameter of the current store, made from ``init`` when its name is new.

    Args:
        name: the parameter's name in the store.
        init: the first value, or a function that gives it, called once; left out, the name must exist.
        constraint: where the value lies; the store keeps an unconstrained tensor and maps it through ``transform_to``.
        event_dim: how many of the rightmost dims are one draw; inside a subsampled plate the rows of the minibatch are
            returned, while the optimizer sees the whole tensor.

    Raises:
        ParameterError: an unknown name without ``init``, or an ``init`` outside the constraint.

    Example:
        >>> import torch, aleator
        >>> from aleator.distributions import constraints
        >>> with aleator.ParamStore():
        ...     aleator.param("scale", torch.tensor(2.0), constraint=constraints.positive).item()
        2.0
    """
    stated = None if init is None and constraint is constraints.real else constraint
    site = Site("param", name, _read, (name, init), {"constraint": stated, "event_dim": event_dim})
    return apply_stack(site)  # type: ignore[no-any-return]  # the store gives tensors


def _read(
    name: str,
    init: Any,  # noqa: ANN401  # as in param
    constraint: Constraint | None,
    event_dim: int | None,
) -> Tensor:
    return current_store().read(name, init, constraint, event_dim)


def module(name: str, nn_module: nn.Module) -> nn.Module:
    """Register the parameters of a torch module, each under ``<name>$$$<its name>``, and return the module.

    The module's own parameters become the store's (identity kept). Where the store already has a name, the stored value
    is copied into the module. Where a handler or ``bind`` gives another tensor, it stands in the module until the run
    ends, also when it raises. The module's buffers join the store's.

    Args:
        name: the prefix.
        nn_module: the module; parameters that do not require a gradient are left alone.

    Example:
        >>> import torch, aleator
        >>> net = torch.nn.Linear(2, 1)
        >>> with aleator.ParamStore() as store:
        ...     same = aleator.module("net", net) is net
        ...     sorted(store.keys()), same
        (['net$$$bias', 'net$$$weight'], True)
    """
    parameters, buffers = _own_tensors(name, nn_module)
    for full_name, parameter, places in parameters:
        if not parameter.requires_grad:
            continue
        site = Site("param", full_name, _register, (full_name, parameter), {"constraint": None, "event_dim": None})
        value = apply_stack(site)
        if value is not parameter:
            _stand_in(places, value, parameter)
    for full_name, buffer, places in buffers:
        value = _join_buffers(scoped_parameter(full_name), buffer)
        if value is not buffer:
            _stand_in(places, value, buffer)
    return nn_module


Places = list[tuple[dict[str, Any], str]]
Found = tuple[str, Any, Places]


def _own_tensors(prefix: str, root: nn.Module) -> tuple[list[Found], list[Found]]:
    """Each parameter and buffer of a module once, under its first name, with every place where it is.

    Layers may be shared, and tensors too. One walk over what torch's ``named_modules`` gives, without its generators.
    """
    parameters: dict[int, Found] = {}
    buffers: dict[int, Found] = {}
    seen: set[nn.Module] = set()
    left = [(f"{prefix}$$$", root)]
    while left:
        path, holder = left.pop()
        if holder in seen:
            continue
        seen.add(holder)
        for table, found in ((holder._parameters, parameters), (holder._buffers, buffers)):
            for key, tensor in table.items():
                if tensor is not None:
                    found.setdefault(id(tensor), (path + key, tensor, []))[2].append((table, key))
        children = [(f"{path}{key}.", child) for key, child in holder._modules.items() if child is not None]
        left.extend(reversed(children))
    return list(parameters.values()), list(buffers.values())


def _register(name: str, parameter: nn.Parameter, constraint: None, event_dim: None) -> Tensor:
    store = current_store()
    return store.read(name) if store.is_bound else store.adopt(name, parameter)


def _join_buffers(name: str, buffer: Tensor) -> Tensor:
    """Return the bound buffer, or make the module's own tensor the store's, with the stored value copied into it."""
    store = current_store()
    stored = store.buffers.get(name)
    if stored is buffer:
        return buffer
    if store.is_bound:
        return buffer if stored is None else stored
    if stored is not None:
        with torch.no_grad():
            buffer.copy_(stored)
    store.buffers[name] = buffer
    return buffer


def _stand_in(places: Places, value: Tensor, own: Tensor) -> None:
    """Put another tensor into the module, wherever its own is, for the extent of the run."""
    run = RUN.get()
    if run is None:
        raise RuntimeError("a tensor can stand in for a module's parameter only inside a run, under a handler")
    for table, key in places:
        table[key] = value

    def put_back() -> None:
        for table, key in places:
            table[key] = own

    run.at_end.append(put_back)
