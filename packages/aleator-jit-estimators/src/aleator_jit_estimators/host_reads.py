"""What reads a tensor without calling an operator, so that a recording of operators would miss it."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor
from torch.overrides import TorchFunctionMode

from aleator_jit_estimators.recorder import UnrecordableError

__all__ = ["HostReads"]

_NAMES = (
    "tolist numpy __array__ __dlpack__ __reduce_ex__ __deepcopy__ data_ptr storage untyped_storage __repr__ __format__"
)
_READS = {getattr(Tensor, name) for name in _NAMES.split()}


@final
class HostReads(TorchFunctionMode):
    """Refuses what takes a tensor's numbers away from torch: in a graph they would stay what they are now."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401  # torch's signature
        """Call a function of torch, unless it is one of these."""
        if func in _READS:
            raise UnrecordableError(f"the program reads values on the host (Tensor.{func.__name__})")
        return func(*args, **(kwargs or {}))
