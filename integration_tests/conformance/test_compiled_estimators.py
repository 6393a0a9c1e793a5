"""The kit through ``compile``, for the estimators that have no ``Jit`` name; those that have one are registered."""

from __future__ import annotations

import inspect
from typing import Any, final

from integration_tests.conformance.subjects import COMPILED_FAILURES

from aleator.infer import IWAE, RenyiELBO
from aleator_jit_estimators.compiled_estimator import AbstractCompiledEstimator
from aleator_testing import parametrize_with_checks


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


ESTIMATORS = [CompiledRenyi, CompiledIWAE]
EXPECTED = {each.__name__: COMPILED_FAILURES for each in ESTIMATORS}


@parametrize_with_checks(ESTIMATORS, expected_failures=EXPECTED)
def test_conformance(check):
    check()
