"""Log q as a function of the draws alone: the guide runs again on its own draws, its parameters being constants.

The gradient of ``log p - log q`` along the draws has the right expectation without the part of log q that depends on
the parameters directly, since a score has mean zero; and where q is the posterior, nothing else is left to vary
(G. Roeder, Y. Wu, D. Duvenaud, "Sticking the Landing", 2017, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from aleator import get_param_store
from aleator.errors import UnsupportedModelError
from aleator.handlers import Messenger
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer.factor import PATH_DENSITY
from aleator.runtime import Run
from aleator.scoring import score_site
from aleator.validation import PendingChecks
from aleator_svi_elbo.agreement import are_noted, note_difference

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["attach_path_densities"]

Program = Callable[..., Any]


def attach_path_densities(
    guide: Program, guide_trace: Trace, names: Sequence[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Put the path density of the named sites into their stash, under ``PATH_DENSITY``.

    The second run sees parameters, and arguments that require a gradient, without their graphs, and the first run's
    draws with theirs, so that the gradient reaches a parameter through every draw and by no other way.

    Raises:
        UnsupportedModelError: the guide took another way on the same draws. That log q came out as another number, as
            under dropout, is noted, and found with the other checks of the step.
    """
    if not torch.is_grad_enabled():
        return
    again = _run_again(guide, guide_trace, args, kwargs)
    pairs = []
    for name in names:
        first, second = guide_trace.nodes[name], again.nodes.get(name)
        if second is None or second.type != "sample" or second.fn.batch_shape != first.fn.batch_shape:
            raise UnsupportedModelError(
                f"guide site {name!r} asks for the gradient rule {first.infer['gradient']!r}, for which the guide runs "
                f"again on its own draws, but it took another way then; let it depend on its arguments and draws alone"
            )
        density = score_site(second)[1]
        first.stash[PATH_DENSITY] = density
        pairs.append((first, density))
    if are_noted():
        _note_difference(pairs)


def _run_again(guide: Program, guide_trace: Trace, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Trace:
    args, kwargs = tree_map_only(Tensor, _constant, (args, dict(kwargs)))
    # What must hold of the arguments has been noted in the first run already.
    with Run(checks=PendingChecks(keep=False)), _own_buffers(), TraceMessenger() as again:
        with DetachedParameters(), ReplayMessenger(trace=guide_trace):
            guide(*args, **kwargs)
    return again


def _constant(tensor: Tensor) -> Tensor:
    return tensor.detach() if tensor.requires_grad else tensor


@final
class DetachedParameters(Messenger):
    """Hands out every parameter without its graph; a module has such tensors in it until the run ends."""

    def postprocess_param(self, site: Site) -> None:
        """Detach the value."""
        site.value = site.value.detach()


@contextmanager
def _own_buffers() -> Iterator[None]:
    """Let modules write into copies of their buffers: a running mean must not move twice in one step."""
    store = get_param_store()
    if not len(store.buffers):
        yield
        return
    copies = {name: buffer.clone() for name, buffer in store.buffers.items()}
    with store.bind(dict(store.named_parameters()), copies):
        yield


_REASON = "a guide that draws outside of its sites, by dropout for instance, has another log q each time"


def _note_difference(pairs: Sequence[tuple[Site, Tensor]]) -> None:
    """Note that log q is the same number in both runs: the sum over the sites, since each costs a few kernels."""
    with torch.no_grad():
        first, second = (
            sum(parts[1:], parts[0])
            for parts in ([score_site(site)[1].sum() for site, _ in pairs], [density.sum() for _, density in pairs])
        )
    names = ", ".join(site.name for site, _ in pairs)
    note_difference(pairs[0][0].fn, f"log q run again, less log q, of {names},", second, first, _REASON)
