"""Compiled estimators that have no ``Jit`` name, as classes that the kit can make and a fresh process can import."""

from __future__ import annotations

import inspect
from typing import Any, final

from aleator.infer import IWAE, RenyiELBO
from aleator_jit_estimators.compiled_estimator import AbstractCompiledEstimator


def signature_of(estimator: Any) -> inspect.Signature:
    """Return the arguments of an estimator's class; a metaclass hides them from ``inspect``."""
    return inspect.Signature(list(inspect.signature(estimator.__init__).parameters.values())[1:])


@final
class CompiledRenyi(AbstractCompiledEstimator):
    capabilities = RenyiELBO.capabilities
    __signature__ = signature_of(RenyiELBO)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(RenyiELBO(*args, **options))

    def __repr__(self) -> str:
        return f"CompiledRenyi({self.inner!r})"


@final
class CompiledIWAE(AbstractCompiledEstimator):
    capabilities = IWAE.capabilities
    __signature__ = signature_of(IWAE)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(IWAE(*args, **options))

    def __repr__(self) -> str:
        return f"CompiledIWAE({self.inner!r})"
