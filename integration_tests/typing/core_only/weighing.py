"""The same user's script where the core alone is installed: plugins' names are untyped, and no error in user code."""

from __future__ import annotations

import torch

import aleator
import aleator.distributions as dist
from aleator import infer
from aleator.infer import SVI, AbstractEstimator, Capabilities, Estimate, Trace_ELBO


class Constant(AbstractEstimator):
    """An estimator of a user's own is typed whole by the core."""

    capabilities = Capabilities()

    def estimate(self, model: object, guide: object, /, *args: object, **kwargs: object) -> Estimate:
        zero = torch.zeros(())
        return Estimate(loss=zero, surrogate=zero)


def model() -> None:
    aleator.sample("weight", dist.Normal(8.5, 1.0))


number: float = Constant().loss(model, model)
text: str = Constant().loss(model, model)  # type: ignore[assignment]  # a loss is a number
svi = SVI(model, model, None, Trace_ELBO())  # unresolved without the plugin: untyped, so no error either
infer.Trace_ELBOW  # type: ignore[attr-defined]  # noqa: B018  # a misspelt name is found with the core alone too
