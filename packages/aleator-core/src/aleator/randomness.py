"""The one place through which everything of Aleator draws.

A context has a source of randomness, or none. Without one, draws come from torch's process generator, exactly as plain
torch would draw them. ``with rng(seed):`` gives the context a source of its own: threads and tasks that each have one
never meet, and the process generator is left alone.

Every draw can be recorded by ``make_fx`` and mapped by ``torch.func.vmap(randomness="different")``: no draw reads a
value on the host. A recorded program draws from the process generator, so that it can be replayed from any state
(see :func:`foreign_draw`).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeAlias, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "RandomSource",
    "bernoulli",
    "binomial",
    "cauchy",
    "current",
    "dirichlet",
    "exponential",
    "foreign_draw",
    "gamma",
    "is_interpreted",
    "multinomial",
    "normal",
    "permutation",
    "poisson",
    "preserve",
    "rng",
    "set_rng_seed",
    "uniform",
]

State: TypeAlias = dict[str, Tensor]

_peek_functorch = torch._C._functorch.peek_interpreter_stack
_dispatch_modes = torch._C._len_torch_dispatch_stack


@final
class RandomSource:
    """A stream of randomness of one's own: a CPU generator, and one per accelerator that is drawn on.

    Args:
        seed: a number, or a ``torch.Generator``, which is used itself and not copied.

    Example:
        >>> from aleator.randomness import RandomSource, normal, rng
        >>> source = RandomSource(0)
        >>> state = source.get_state()
        >>> with rng(source):
        ...     first = normal((2,))
        >>> source.set_state(state)
        >>> with rng(source):
        ...     bool((normal((2,)) == first).all())
        True
    """

    __slots__ = ("_cpu", "_devices")

    def __init__(self, seed: int | torch.Generator) -> None:
        self._cpu = torch.Generator()
        self._devices: dict[str, torch.Generator] = {}
        if not isinstance(seed, torch.Generator):
            self._cpu.manual_seed(seed)
        elif seed.device.type == "cpu":
            self._cpu = seed
        else:
            self._devices[_device_key(seed.device)] = seed
            self._cpu.manual_seed(_draw_seed(seed))

    def generator(self, device: torch.device | str | None = None) -> torch.Generator:
        """Return the generator of a device; an accelerator's is made at its first use, seeded by the CPU's."""
        device = torch.device("cpu") if device is None else torch.device(device)
        if device.type == "cpu":
            return self._cpu
        key = _device_key(device)
        found = self._devices.get(key)
        if found is None:
            found = torch.Generator(device=key).manual_seed(_draw_seed(self._cpu))
            self._devices[key] = found
        return found

    def seed(self, seed: int) -> None:
        """Start the stream anew; generators of accelerators will be seeded from it at their next use."""
        self._cpu.manual_seed(seed)
        self._devices.clear()

    def get_state(self) -> State:
        """Return a copy of the state of every generator, by device: a mapping of byte tensors, always with ``cpu``."""
        generators = {"cpu": self._cpu, **self._devices}
        return {device: generator.get_state() for device, generator in generators.items()}

    def set_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that :meth:`get_state` gave; generators of devices that it lacks are forgotten."""
        self._cpu.set_state(state["cpu"])
        for device in set(self._devices) - set(state):
            del self._devices[device]
        for device in set(state) - {"cpu"}:
            self._devices.setdefault(device, torch.Generator(device=device)).set_state(state[device])

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> RandomSource:
        """Return a new source that continues from a state."""
        source = cls(0)
        source.set_state(state)
        return source


_SOURCE: ContextVar[RandomSource | None] = ContextVar("aleator_random_source", default=None)
_OUTER: ContextVar[tuple[RandomSource | None, ...]] = ContextVar("aleator_outer_random_sources", default=())
_PROCESS_GENERATOR_LOCK = RLock()


def current() -> RandomSource | None:
    """Return the context's source, or ``None`` where draws come from torch's process generator."""
    return _SOURCE.get()


@final
class rng:
    """Draw from a source of one's own for the extent of a ``with`` block.

    One object has one stream: entered again, also inside itself or in another thread, it goes on where it was.

    Args:
        source: a seed, a ``torch.Generator`` (used itself), a :class:`RandomSource`, or ``None`` for torch's process
            generator.

    Example:
        >>> import aleator.distributions as dist
        >>> from aleator.randomness import rng
        >>> with rng(0):
        ...     first = dist.Normal(0.0, 1.0)()
        >>> with rng(0):
        ...     bool(dist.Normal(0.0, 1.0)() == first)
        True
    """

    __slots__ = ("source",)

    def __init__(self, source: int | torch.Generator | RandomSource | None) -> None:
        is_source = source is None or isinstance(source, RandomSource)
        self.source: RandomSource | None = source if is_source else RandomSource(source)  # type: ignore[assignment, arg-type]  # is_source narrows it

    def __enter__(self) -> RandomSource | None:
        _OUTER.set((*_OUTER.get(), _SOURCE.get()))
        _SOURCE.set(self.source)
        return self.source

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        outer = _OUTER.get()
        _SOURCE.set(outer[-1])
        _OUTER.set(outer[:-1])


def set_rng_seed(seed: int) -> None:
    """Seed torch, ``random``, numpy where something has imported it, and the context's source where there is one."""
    torch.manual_seed(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    source = _SOURCE.get()
    if source is not None:
        source.seed(seed)


@contextmanager
def preserve() -> Iterator[None]:
    """Put every stream back at the end of a block: the context's source, torch's, ``random``'s and numpy's."""
    source = _SOURCE.get()
    numpy = sys.modules.get("numpy")
    own = None if source is None else source.get_state()
    process = {device: generator.get_state() for device, generator in _process_generators().items()}
    python_state = random.getstate()
    numpy_state = None if numpy is None else numpy.random.get_state()
    try:
        yield
    finally:
        if source is not None and own is not None:
            source.set_state(own)
        for device, generator in _process_generators().items():
            if device in process:
                generator.set_state(process[device])
        random.setstate(python_state)
        if numpy is not None:
            numpy.random.set_state(numpy_state)


@final
class foreign_draw:
    """Let code that only knows torch's process generator draw from the context's source.

    Inside the block the process generator has the source's state, and every draw comes from it, Aleator's own included.
    Afterwards the source goes on from where that left off, and the process generator is as it was. Blocks of several
    threads take turns. Without a source this does nothing.
    """

    __slots__ = ("_saved", "_source")

    def __enter__(self) -> None:
        self._source = _SOURCE.get()
        if self._source is None:
            return
        _PROCESS_GENERATOR_LOCK.acquire()
        self._saved: list[tuple[torch.Generator, torch.Generator, Tensor]] = []
        for device, process in _process_generators().items():
            own = self._source.generator(device)
            self._saved.append((process, own, process.get_state()))
            process.set_state(own.get_state())
        _SOURCE.set(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._source is None:
            return
        for process, own, saved in self._saved:
            own.set_state(process.get_state())
            process.set_state(saved)
        _SOURCE.set(self._source)
        _PROCESS_GENERATOR_LOCK.release()


def normal(
    shape: Sequence[int],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Draw standard normals of a shape, in the dtype and on the device given, or in those of ``like``."""
    if like is None or is_interpreted():
        dtype, device = _kind(dtype, device, like)
        return torch.randn(shape, dtype=dtype, device=device, generator=_generator(device))
    return _empty(shape, like).normal_(generator=_generator(like.device))


def uniform(
    shape: Sequence[int],
    low: float = 0.0,
    high: float = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Draw uniforms in ``[low, high)``; see :func:`normal` for the other arguments."""
    return _fillable(shape, dtype, device, like).uniform_(low, high, generator=_generator(_device(device, like)))


def exponential(
    shape: Sequence[int],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Draw exponentials of rate 1; see :func:`normal` for the arguments."""
    return _fillable(shape, dtype, device, like).exponential_(generator=_generator(_device(device, like)))


def cauchy(
    shape: Sequence[int],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Draw standard Cauchy values; see :func:`normal` for the arguments."""
    return _fillable(shape, dtype, device, like).cauchy_(generator=_generator(_device(device, like)))


def gamma(concentration: Tensor) -> Tensor:
    """Draw gammas of rate 1, elementwise, with the implicit gradient in the concentration (Figurnov et al. 2018)."""
    return torch._standard_gamma(concentration, generator=_generator(concentration.device))


def dirichlet(concentration: Tensor) -> Tensor:
    """Draw points of the simplex over the last dim, with the implicit gradient in the concentration."""
    draws: Tensor = _Dirichlet.apply(concentration, _generator(concentration.device))  # type: ignore[no-untyped-call]  # torch's apply is untyped
    return draws


def poisson(rate: Tensor) -> Tensor:
    """Draw Poisson counts, elementwise, in the dtype of the rate."""
    return torch.poisson(rate.detach(), generator=_generator(rate.device))


def bernoulli(probs: Tensor) -> Tensor:
    """Draw zeros and ones, elementwise, in the dtype of the probabilities."""
    return torch.bernoulli(probs.detach(), generator=_generator(probs.device))


def binomial(total_count: Tensor, probs: Tensor) -> Tensor:
    """Draw numbers of successes, elementwise; both arguments have one dtype, and the draws have it too."""
    if _peek_functorch() is not None:
        # torch's batching rule wants both arguments mapped, or none: the sum with a zero makes them so.
        total_count, probs = total_count + torch.zeros_like(probs), probs + torch.zeros_like(total_count)
    return torch.binomial(total_count.detach(), probs.detach(), generator=_generator(probs.device))


def multinomial(probs: Tensor, num_samples: int, replacement: bool = True) -> Tensor:
    """Draw indices by the (unnormalized) probabilities along the last dim of a vector or matrix."""
    return torch.multinomial(probs.detach(), num_samples, replacement, generator=_generator(probs.device))


def permutation(n: int, k: int | None = None, device: torch.device | None = None) -> Tensor:
    """Draw a permutation of ``range(n)``, or its first ``k`` elements: a subset without replacement."""
    order = torch.randperm(n, device=device, generator=_generator(device))
    return order if k is None or k >= n else order[:k].clone()


class _Dirichlet(torch.autograd.Function):
    """A Dirichlet draw from a given generator (torch's own function takes none, and no ``torch.func`` transform)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(concentration: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch._sample_dirichlet(concentration, generator=generator)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401  # torch's context
        ctx.save_for_backward(output, inputs[0])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]  # torch's decorator is untyped
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401  # torch's context
        draws, concentration = ctx.saved_tensors
        total = concentration.sum(-1, True).expand_as(concentration)
        slope = torch._dirichlet_grad(draws, concentration, total)
        return slope * (grad - (draws * grad).sum(-1, True)), None


def is_interpreted() -> bool:
    """Whether a ``torch.func`` transform or a dispatch mode (``make_fx``) interprets what torch is told to do."""
    return _peek_functorch() is not None or _dispatch_modes() > 0


def _generator(device: torch.device | str | None) -> torch.Generator | None:
    """The generator to draw with; ``None``, the process's own, where there is no source, or a graph is recorded."""
    source = _SOURCE.get()
    if source is None:
        return None
    if _dispatch_modes() > 0:
        proxy_tensor = sys.modules.get("torch.fx.experimental.proxy_tensor")
        if proxy_tensor is not None and proxy_tensor.get_proxy_mode() is not None:
            return None
    return source.generator(device if device is not None else torch.get_default_device())


def _device(device: torch.device | None, like: Tensor | None) -> torch.device | None:
    return device if like is None else like.device


def _kind(
    dtype: torch.dtype | None, device: torch.device | None, like: Tensor | None
) -> tuple[torch.dtype | None, torch.device | None]:
    return (dtype, device) if like is None else (like.dtype, like.device)


def _empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory to fill, always in row-major order, so that the shape alone says which draw goes where."""
    if like.shape == shape:
        return torch.empty_like(like, memory_format=torch.contiguous_format, requires_grad=False)
    return like.new_empty(shape)


def _fillable(
    shape: Sequence[int], dtype: torch.dtype | None, device: torch.device | None, like: Tensor | None
) -> Tensor:
    """Memory that an in-place draw may fill: under ``vmap`` it must have the mapped dim, which only a draw gives it."""
    if like is not None and not is_interpreted():
        return _empty(shape, like)
    dtype, device = _kind(dtype, device, like)
    if _peek_functorch() is not None:
        return torch.rand(shape, dtype=dtype, device=device, generator=_generator(device))
    return torch.empty(shape, dtype=dtype, device=device)


def _process_generators() -> dict[str, torch.Generator]:
    """Torch's own generators: the CPU's, and the current CUDA device's where CUDA is in use."""
    generators = {"cpu": torch.default_generator}
    if torch.cuda.is_initialized():
        index = torch.cuda.current_device()
        generators[f"cuda:{index}"] = torch.cuda.default_generators[index]
    return generators


def _device_key(device: torch.device) -> str:
    index = device.index
    if index is None:
        index = torch.cuda.current_device() if device.type == "cuda" else 0
    return f"{device.type}:{index}"


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device).item())
