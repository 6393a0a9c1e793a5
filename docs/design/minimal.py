"""The language of Aleator in one file: what its words mean, executable, on torch alone.

A program calls ``sample``, ``param`` and ``plate``. Each call makes a *site*, a record that travels through the
*handlers* around the call, from the innermost to the outermost and back. What a program means is what the handlers make
of it: ``trace`` records it, ``replay`` runs it again on recorded values, an ELBO is two traces and a subtraction.

The tests of the core's handlers run against this file too. What it leaves out, and the core has: validation and its
messages, speed, one handler in several threads at once, rows of subsampled parameters, more handlers.
"""

# ruff: noqa: ANN401, D102 (values have any type; a handler's class says what its methods do)
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints, transform_to


# ---- Sites -----------------------------------------------------------------------------------------------------------
class Frame(NamedTuple):
    """A plate around a site: a tensor dim, or, with ``dim=None``, one turn of a loop."""

    name: str
    dim: int | None
    size: int
    full_size: int
    counter: int = 0


@dataclass
class Site:
    """One call of a primitive, on its way through the handlers."""

    type: str  # "sample", "param" or "subsample"; in a trace also "args" and "return"
    name: str
    fn: Any = None  # a distribution, or the function that gives the value
    args: tuple[Any, ...] = ()
    value: Any = None  # None until it is known
    is_observed: bool = False
    infer: Mapping[str, Any] = field(default_factory=dict)  # options for algorithms
    scale: Any = 1.0  # of handlers only: a plate's scale is in its frame
    mask: Any = True
    frames: tuple[Frame, ...] = ()  # the outermost first
    stop: bool = False  # hides the site from the handlers further out
    is_split: bool = False  # by an intervention


def log_prob(site: Site) -> Tensor:
    """Score a sample site: masked, then scaled by handlers and by the plates' ``full_size / size``."""
    if site.mask is False:
        return torch.zeros(())
    masked = torch.where(torch.as_tensor(site.mask), site.fn.log_prob(site.value), 0.0)
    return masked * site.scale * prod(frame.full_size / frame.size for frame in site.frames)


# ---- The stack of handlers -------------------------------------------------------------------------------------------
# A tuple in a context variable: threads and asyncio tasks have their own.
STACK: ContextVar[tuple[Messenger, ...]] = ContextVar("stack", default=())


class Messenger:
    """A handler: a context manager around calls, or around a function.

    Its methods ``process_<type>`` see sites on the way out, ``postprocess_<type>`` on the way back, value and all.
    """

    def __init__(self, fn: Any = None) -> None:
        self.fn = fn

    def __enter__(self) -> Any:
        STACK.set((*STACK.get(), self))
        return self

    def __exit__(self, *exception: object) -> None:
        stack = STACK.get()
        STACK.set(stack[: len(stack) - 1 - stack[::-1].index(self)])  # what an exception left above goes with it

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.fn is None:  # used as a decorator: the argument is the function
            handled = copy(self)
            handled.fn = args[0]
            return handled
        with self:
            return self.fn(*args, **kwargs)

    def process_sample(self, site: Site) -> None:
        """Let the site pass, as every handler does with what does not concern it."""

    process_param = process_subsample = postprocess_sample = postprocess_param = postprocess_subsample = process_sample


def apply_stack(site: Site) -> Any:
    """Send a site through the handlers: inside out until one stops it, then the default, then back inward."""
    seen: list[Messenger] = []
    for handler in reversed(STACK.get()):
        seen.insert(0, handler)
        getattr(handler, f"process_{site.type}")(site)
        if site.stop:
            break
    if site.type == "sample":
        site.fn = widened(site.fn, site.frames)
    if site.value is None:  # a value that somebody gave is never drawn again
        make = (site.fn.rsample if site.fn.has_rsample else site.fn.sample) if site.type == "sample" else site.fn
        site.value = make(*site.args)
    for handler in seen:
        getattr(handler, f"postprocess_{site.type}")(site)
    return site.value


def widened(fn: Distribution, frames: Sequence[Frame]) -> Distribution:
    """Expand a distribution to the sizes of the plates around it."""
    shape = list(fn.batch_shape)
    for frame in frames:
        if frame.dim is not None:
            shape = [1] * (-frame.dim - len(shape)) + shape
            if shape[frame.dim] not in (1, frame.size):
                raise ValueError(f"plate {frame.name!r} has size {frame.size}, but the batch shape is {shape}")
            shape[frame.dim] = frame.size
    return fn if shape == list(fn.batch_shape) else fn.expand(torch.Size(shape))


# ---- Primitives: what programs are written with ----------------------------------------------------------------------
PARAMS: dict[str, tuple[Tensor, Any]] = {}  # unconstrained leaf and constraint, by name


def sample(name: str, fn: Distribution, *args: Any, obs: Any = None, infer: Mapping[str, Any] | None = None) -> Any:
    """Draw from a distribution at a named site, or observe data there."""
    value = None if obs is None else torch.as_tensor(obs)
    return apply_stack(Site("sample", name, fn, args, value, obs is not None, infer or {}))


def deterministic(name: str, value: Tensor) -> Tensor:
    """Record a value that follows from others; its log-probability is zero."""
    return apply_stack(Site("sample", name, Normal(value, 1.0), (), value, is_observed=True, mask=False))


def param(name: str, init: Tensor | Callable[[], Tensor] | None = None, constraint: Any = constraints.real) -> Tensor:
    """Return a parameter, made from ``init`` where its name is new; optimizers see an unconstrained leaf."""

    def read() -> Tensor:
        if name not in PARAMS:
            value = torch.as_tensor(init() if callable(init) else init)
            PARAMS[name] = transform_to(constraint).inv(value).detach().clone().requires_grad_(), constraint
        leaf, stored = PARAMS[name]
        return transform_to(stored)(leaf)

    return apply_stack(Site("param", name, read))


class plate(Messenger):
    """Independent elements: ``with plate(...)`` makes a tensor dim, ``for i in plate(...)`` a loop.

    The minibatch is a ``subsample`` site, drawn when the plate is made: ``replay`` gives a model its guide's rows.
    """

    def __init__(
        self, name: str, size: int, subsample_size: int | None = None, subsample: Any = None, dim: int | None = None
    ) -> None:
        super().__init__()
        given = None if subsample is None else torch.as_tensor(subsample)
        draw = torch.arange if subsample_size is None else lambda size: torch.randperm(size)[:subsample_size]
        self.indices: Tensor = apply_stack(Site("subsample", name, draw, (size,), given))
        self.stated_dim = dim
        self.frame = Frame(name, None, len(self.indices), size)

    def __enter__(self) -> Tensor:
        taken = {handler.frame.dim for handler in STACK.get() if isinstance(handler, plate)} - {None}
        if self.stated_dim in taken:
            raise ValueError(f"plate {self.frame.name!r}: dim {self.stated_dim} is taken by another plate")
        dim = self.stated_dim or max(dim for dim in range(-1, -len(taken) - 2, -1) if dim not in taken)
        self.frame = self.frame._replace(dim=dim)
        super().__enter__()
        return self.indices

    def __iter__(self) -> Iterator[int]:
        for counter, index in enumerate(self.indices.tolist()):
            turn = copy(self)
            turn.frame = self.frame._replace(counter=counter)
            Messenger.__enter__(turn)
            try:
                yield index
            finally:
                turn.__exit__()

    def process_sample(self, site: Site) -> None:
        site.frames = (self.frame, *site.frames)


# ---- Handlers --------------------------------------------------------------------------------------------------------
class Trace:
    """The record of a run: its sites by name, in order."""

    def __init__(self) -> None:
        self.nodes: dict[str, Site] = {}

    def add(self, site: Site) -> None:
        """Append a site; a parameter may be read again, a draw has a name of its own."""
        other = self.nodes.setdefault(site.name, site)
        if other is not site and (other.type, site.type) != ("param", "param"):
            raise ValueError(f"two sites named {site.name!r} in one run")

    def log_prob_sum(self) -> Tensor:
        return sum((log_prob(s).sum() for s in self.nodes.values() if s.type == "sample"), torch.zeros(()))


class trace(Messenger):
    """Record sites on the way back: only then is everything about them known."""

    def __enter__(self) -> Trace:
        self.trace = Trace()
        super().__enter__()
        return self.trace

    def postprocess_sample(self, site: Site) -> None:
        self.trace.add(site)

    postprocess_param = postprocess_subsample = postprocess_sample

    def get_trace(self, *args: Any, **kwargs: Any) -> Trace:
        """Run the function, and return its trace, with its arguments and result."""
        with self as record:
            record.nodes["_INPUT"] = Site("args", "_INPUT", args=(args, kwargs))
            record.nodes["_RETURN"] = Site("return", "_RETURN", value=self.fn(*args, **kwargs))
        return record


class replay(Messenger):
    """Take latent values and minibatches from a trace. What the program itself gives, wins."""

    def __init__(self, fn: Any = None, trace: Trace | None = None) -> None:
        super().__init__(fn)
        self.nodes = {} if trace is None else trace.nodes

    def process_sample(self, site: Site) -> None:
        traced = self.nodes.get(site.name)
        if traced is not None and site.value is None:
            if traced.is_observed:
                raise ValueError(f"site {site.name!r} is latent here, but observed in the trace to replay")
            site.value, site.infer = traced.value, {**site.infer, **traced.infer}

    process_subsample = process_sample


class block(Messenger):
    """Hide sites from the handlers further out; they run all the same. An observed site has the type "observe"."""

    def __init__(self, fn: Any = None, hide_fn: Callable[[Site], bool] | None = None, **rule: Sequence[str]) -> None:
        super().__init__(fn)
        self.hide_fn, self.rule = hide_fn, rule

    def process_sample(self, site: Site) -> None:
        site.stop = self.hides_by_rule(site) if self.hide_fn is None else self.hide_fn(site)

    process_param = process_subsample = process_sample

    def hides_by_rule(self, site: Site) -> bool:
        # hide, hide_types, expose, expose_types; the last two hide all others
        kind = "observe" if site.type == "sample" and site.is_observed else site.type
        if site.name in self.rule.get("hide", ()) or kind in self.rule.get("hide_types", ()):
            return True
        exposed = site.name in self.rule.get("expose", ()) or kind in self.rule.get("expose_types", ())
        return not exposed and (not self.rule or "expose" in self.rule or "expose_types" in self.rule)


class Named(Messenger):
    """A handler of things by name, which says at its end when a name met no site."""

    def __init__(self, fn: Any = None, data: Any = None) -> None:
        super().__init__(fn)
        self.data = {n: s.value for n, s in data.nodes.items()} if isinstance(data, Trace) else data

    def __enter__(self) -> Any:
        self.unmet = {name for name, value in self.data.items() if value is not None} - {"_RETURN"}
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        if self.unmet and not any(exception):
            warnings.warn(f"no site {sorted(self.unmet)} in this run", UserWarning, stacklevel=2)

    def given(self, site: Site) -> Any:
        self.unmet.discard(site.name)
        value = self.data.get(site.name)
        return None if value is None else torch.as_tensor(value)


class condition(Named):
    """Observe data at named sites."""

    def process_sample(self, site: Site) -> None:
        value = self.given(site)
        if value is not None:
            site.value, site.is_observed = value, True


class do(Named):
    """Intervene: the site's own draw goes on outward; the program goes on with the copy ``<name>__CF``."""

    def process_sample(self, site: Site) -> None:
        value = self.given(site)
        if value is not None and site.is_split:
            warnings.warn(f"two interventions on {site.name!r}: the inner one counts", UserWarning, stacklevel=2)
        elif value is not None:
            self.split(site, value)

    def split(self, site: Site, value: Tensor) -> None:
        site.is_split = True
        own, stack = copy(site), STACK.get()
        position = stack.index(self)
        STACK.set(stack[:position])  # the handlers further in have seen the draw on its way
        apply_stack(own)
        STACK.set(stack)
        for handler in stack[position + 1 :]:
            handler.postprocess_sample(own)
        site.name, site.value, site.is_observed, site.stop = f"{site.name}__CF", value, True, True


class scale(Messenger):
    """Weigh log-probabilities; scales inside scales multiply."""

    def __init__(self, fn: Any = None, scale: Any = 1.0) -> None:
        super().__init__(fn)
        if not torch.as_tensor(scale > 0).all():
            raise ValueError(f"a scale is positive, but found {scale}")
        self.scale = scale

    def process_sample(self, site: Site) -> None:
        site.scale = site.scale * self.scale


class mask(Messenger):
    """Leave elements of log-probabilities out; masks inside masks are joined by "and"."""

    def __init__(self, fn: Any = None, mask: Tensor | bool = True) -> None:
        super().__init__(fn)
        if torch.as_tensor(mask).dtype is not torch.bool:
            raise ValueError(f"a mask is boolean, but found {mask}")
        self.mask = mask

    def process_sample(self, site: Site) -> None:
        site.mask = False if site.mask is False or self.mask is False else self.mask & site.mask


class seed(Messenger):
    """Draw from a stream of one's own; the outer stream goes on afterwards where it was."""

    def __init__(self, fn: Any = None, rng_seed: int = 0) -> None:
        super().__init__(fn)
        self.rng_seed = rng_seed

    def __enter__(self) -> Any:
        self.outer = torch.get_rng_state()
        torch.default_generator.manual_seed(self.rng_seed)
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        torch.default_generator.set_state(self.outer)
        super().__exit__(*exception)


# ---- Inference: two traces and a subtraction -------------------------------------------------------------------------
def elbo(model: Callable[..., Any], guide: Callable[..., Any], *args: Any) -> tuple[Tensor, Tensor]:
    """Return the evidence lower bound, and a surrogate whose gradient estimates its gradient.

    Where a draw is not pathwise, its score, log q, times the detached bound stands in for the missing path.
    """
    guide_trace = trace(guide).get_trace(*args)
    model_trace = trace(replay(model, trace=guide_trace)).get_trace(*args)
    bound = model_trace.log_prob_sum() - guide_trace.log_prob_sum()
    drawn = [s for s in guide_trace.nodes.values() if s.type == "sample" and not (s.is_observed or s.fn.has_rsample)]
    score = sum((site.fn.log_prob(site.value).sum() for site in drawn), torch.zeros(()))
    return bound.detach(), bound + score * bound.detach()


class SVI:
    """Stochastic variational inference: a step moves the parameters that it has met; new ones join."""

    def __init__(self, model: Any, guide: Any, optim: Callable[[list[Tensor]], Any]) -> None:
        self.model, self.guide, self.optim = model, guide, optim
        self.optimizers: dict[str, Any] = {}

    def step(self, *args: Any) -> float:
        """Take one step, and return the loss before it: minus the bound."""
        with trace() as met, block(expose_types=["param"]):
            bound, surrogate = elbo(self.model, self.guide, *args)
        (-surrogate).backward()
        for name in met.nodes:
            if name not in self.optimizers:
                self.optimizers[name] = self.optim([PARAMS[name][0]])
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()
        return -bound.item()
