"""A stream of randomness of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, final

import torch
from torch import Tensor

__all__ = ["RandomSource", "State", "process_generators"]

State: TypeAlias = dict[str, Tensor]


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


def process_generators() -> dict[str, torch.Generator]:
    """Torch's own generators: the CPU's, and the current CUDA device's where CUDA is in use."""
    generators = {"cpu": torch.default_generator}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        index = torch.cuda.current_device()
        generators[f"cuda:{index}"] = torch.cuda.default_generators[index]
    return generators


def _device_key(device: torch.device) -> str:
    index: int | None = device.index
    if index is None:
        index = torch.cuda.current_device() if device.type == "cuda" else 0
    return f"{device.type}:{index}"


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator, device=generator.device).item())
