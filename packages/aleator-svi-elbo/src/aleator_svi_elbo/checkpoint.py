"""A training run as one file, and back: what continues from it continues bit for bit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aleator import __version__, get_param_store
from aleator.errors import CheckpointError
from aleator.optim import Optimizer, OptimizerState
from aleator.params.files import MapLocation, read_checkpoint, write_checkpoint
from aleator.params.format_versions import ContentFormat
from aleator.params.state import StoreState, decode_state, encode_state
from aleator.randomness import RandomSource

__all__ = ["RunState", "read_run", "write_run"]

_KIND = "aleator.svi-run"


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """The first layout said neither its version nor its writer, and is otherwise the present one."""
    return content


_FORMAT = ContentFormat("a run of SVI", "aleator-svi-elbo", __version__, 2, {1: _from_version_1})


class RunState(NamedTuple):
    """What a run remembers beside the store.

    Attributes:
        optimizer: the optimizer's state, a schedule's part included.
        source: the run's own source of randomness, or ``None`` where it draws from the context's.
        steps_taken: the number of steps.
        losses: the loss of every step of ``run``.
    """

    optimizer: OptimizerState
    source: RandomSource | None
    steps_taken: int
    losses: list[float]


def write_run(path: str | os.PathLike[str], optimizer: Optimizer, state: RunState) -> None:
    """Write a run and the context's store; what is at ``path`` stays whole if that fails.

    Raises:
        ParameterError: a parameter's constraint cannot be written to a file.
        OSError: the file cannot be written.
    """
    payload = {
        "store": encode_state(get_param_store().get_state()),
        "optimizer": optimizer.state_to_payload(state.optimizer),
        "random_state": None if state.source is None else dict(state.source.get_state()),
        "steps_taken": state.steps_taken,
        "losses": torch.tensor(state.losses, dtype=torch.float64),
    }
    write_checkpoint(path, _FORMAT.stamped(payload), _KIND)


def read_run(path: str | os.PathLike[str], optimizer: Optimizer, map_location: MapLocation = None) -> RunState:
    """Bring the parameters and buffers of a file into the context's store, and return the rest of the run.

    Everything is read and checked before anything is written.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, of another kind, or does not fit the optimizer; nothing has changed.
    """
    payload = _FORMAT.read(read_checkpoint(path, _KIND, map_location), str(path))
    unknown = set(payload) - {"store", "optimizer", "random_state", "steps_taken", "losses", "version", "writer"}
    if unknown:
        raise CheckpointError(f"{path} is damaged: nobody reads {sorted(map(str, unknown))}; use an earlier copy")
    stored = decode_state(payload.get("store"))
    saved = payload.get("optimizer")
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"{path} is damaged: it holds no optimizer state; use an earlier copy")
    steps_taken, losses = _history(path, payload)
    source = _source(path, payload.get("random_state"))
    _optimizer_state(path, optimizer, saved, _leaves_to_be(stored))
    store = get_param_store()
    store.set_state(stored)
    leaves = {name: store.unconstrained(name) for name in stored["params"]}
    return RunState(_optimizer_state(path, optimizer, saved, leaves), source, steps_taken, losses)


def _optimizer_state(
    path: str | os.PathLike[str], optimizer: Optimizer, saved: Mapping[str, Any], leaves: dict[str, Tensor]
) -> OptimizerState:
    try:
        return optimizer.state_from_payload(saved, leaves)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the saved optimizer state cannot become one of {optimizer.name}: {error!r}"
        ) from error


def _leaves_to_be(stored: StoreState) -> dict[str, Tensor]:
    """The leaves after the state has been brought in, as far as an optimizer looks at them: those that fit are kept."""
    store = get_param_store()
    leaves: dict[str, Tensor] = {}
    for name, value in stored["params"].items():
        kept = store.unconstrained(name) if name in store else value
        leaves[name] = (kept if kept.shape == value.shape else value).detach().clone().requires_grad_()
    return leaves


def _history(path: str | os.PathLike[str], payload: Mapping[str, Any]) -> tuple[int, list[float]]:
    steps_taken, losses = payload.get("steps_taken"), payload.get("losses")
    if (
        not isinstance(steps_taken, int)
        or isinstance(steps_taken, bool)
        or not isinstance(losses, Tensor)
        or losses.dim() != 1
        or losses.dtype is not torch.float64
        or not 0 <= len(losses) <= steps_taken
    ):
        raise CheckpointError(f"{path} is damaged: its step count or its losses are none; use an earlier copy")
    return steps_taken, [float(loss) for loss in losses.tolist()]


def _source(path: str | os.PathLike[str], state: object) -> RandomSource | None:
    if state is None:
        return None
    if not isinstance(state, Mapping) or "cpu" not in state:
        raise CheckpointError(f"{path} is damaged: its state of randomness is none; use an earlier copy")
    try:
        return RandomSource.from_state({device: value.cpu() for device, value in state.items()})
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the state of randomness cannot be restored here ({error}); it was saved with {sorted(state)}"
        ) from error
