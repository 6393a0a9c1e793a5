"""A store and a source of randomness for each program."""

import pytest

import aleator


@pytest.fixture(autouse=True)
def own_state():
    with aleator.ParamStore(), aleator.rng(20):
        yield
