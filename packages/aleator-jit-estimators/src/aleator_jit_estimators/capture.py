"""A function of tensors as a graph whose every outside tensor is an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.utils._pytree import TreeSpec, tree_flatten

from aleator.randomness import current, preserve, rng
from aleator_jit_estimators.addressed import Form, form_of
from aleator_jit_estimators.foreign_draws import foreign_draw_warning
from aleator_jit_estimators.host_reads import HostReads
from aleator_jit_estimators.noise import Noise, take_noise_out
from aleator_jit_estimators.places import LastSite, place_of
from aleator_jit_estimators.recorder import Recorder, UnrecordableError

__all__ = ["Capture", "capture"]


class Capture(NamedTuple):
    """A graph over the given inputs, and further inputs that were lifted.

    Attributes:
        graph: takes the inputs, then the lifted tensors; gives a tuple of tensors.
        lifted: for each further input its place among the reachable tensors.
        noise: what makes the last input, where there is one more: the graph's draws.
        inputs: example values of all inputs, none passed twice.
        structure: how the graph's outputs make up what the function gave.
        form: how the code may be called by addresses, where it maps a state to the next one.
        digest: equal for equal graphs, in any process.
        warning: what the user should know about the graph, if anything.
    """

    graph: GraphModule
    lifted: tuple[int, ...]
    noise: Noise | None
    inputs: tuple[Tensor, ...]
    structure: TreeSpec
    form: Form | None
    digest: str
    warning: str | None


def capture(
    function: Callable[..., Any], inputs: Sequence[Tensor], reachable: Sequence[Tensor], maps_states: bool = False
) -> Capture:
    """Record a function of tensors as it runs once; no stream of randomness and no tensor is changed by that.

    ``make_fx`` would record the same, but its first call in a process costs more than a second.

    Args:
        function: takes the inputs, gives a pytree of tensors.
        inputs: example values. One that is passed twice is copied: a graph would take the two for one.
        reachable: tensors that the caller can look up again before each call.
        maps_states: whether the first inputs are a state, and all outputs but the last one the next state.

    Raises:
        UnrecordableError: the program reads a value on the host, or a tensor that lies nowhere among ``reachable``.
        Exception: whatever the function raises.
    """
    distinct = tuple(map(_copied, inputs))
    recorder, last, has_source = Recorder(distinct), LastSite(), current() is not None
    with preserve(), rng(None):
        try:
            with recorder, last, HostReads():
                result = function(*distinct)
        except Exception as error:
            error.add_note(place_of(error, last))
            raise
        finally:
            recorder.restore()
    outputs, structure = tree_flatten(result)
    graph, digest = recorder.graph(outputs)
    places = {id(tensor): at for at, tensor in enumerate(reachable)}
    unknown = [each for each in recorder.lifted if id(each) not in places]
    if unknown:
        raise UnrecordableError(
            f"the program uses a tensor of shape {tuple(unknown[0].shape)} of which it cannot be told where it comes "
            f"from; keep it in a variable or an attribute, or pass it as an argument"
        )
    lifted = tuple(places[id(each)] for each in recorder.lifted)
    values = [_copied(each) for each in recorder.lifted]  # building must not run on the originals
    noise = take_noise_out(graph, even_none=maps_states) if distinct or lifted else None
    if noise is not None:
        values.append(torch.zeros(noise.size, dtype=noise.dtype))
    every = (*distinct, *values)
    form = form_of(graph, every, outputs) if maps_states and noise is not None else None
    warning = foreign_draw_warning(recorder.foreign_draw) if has_source and recorder.foreign_draw else None
    return Capture(graph, lifted, noise, every, structure, form, digest, warning)


def _copied(value: Tensor) -> Tensor:
    """Return a copy with the same strides, which ``clone`` does not keep and packages are built for."""
    value = value.detach()
    if value.layout is not torch.strided or value.is_contiguous() or not value.numel():
        return value.clone()
    extent = 1 + sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
    return value.as_strided((extent,), (1,)).clone().as_strided(value.shape, value.stride())
