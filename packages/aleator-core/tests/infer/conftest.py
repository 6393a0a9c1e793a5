"""A hand-written estimator on the core alone, and a store of its own for every test."""

from __future__ import annotations

import pytest

import aleator
from aleator import handlers
from aleator.infer import AbstractEstimator, Capabilities, Estimate


class OneSample(AbstractEstimator):
    """One pathwise sample of the evidence lower bound."""

    capabilities = Capabilities()

    def estimate(self, model, guide, /, *args, **kwargs):
        guide_trace = handlers.trace(guide).get_trace(*args, **kwargs)
        model_trace = handlers.trace(handlers.replay(model, trace=guide_trace)).get_trace(*args, **kwargs)
        loss = guide_trace.log_prob_sum() - model_trace.log_prob_sum()
        return Estimate(loss.detach(), loss)


@pytest.fixture
def one_sample():
    return OneSample()


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as inner:
        yield inner
