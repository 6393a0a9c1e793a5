"""What can be told without ArviZ; ``tools/oracle_arviz.py`` goes through it and compares the numbers."""

import sys

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator_posterior import Draws, DrawsBuilder, to_arviz
from aleator_posterior.arviz_export import _coordinates, _dense


def test_without_arviz_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match=r"pip install 'aleator-posterior\[arviz\]'"):
        to_arviz(Draws({"z": torch.zeros(3)}))


def test_plates_are_coordinates_with_the_elements_that_all_draws_saw():
    def model(indices):
        with aleator.plate("some", 10, subsample=indices), aleator.plate("all", 3):
            aleator.sample("x", dist.Normal(0.0, 1.0))

    def coordinates(*minibatches):
        builder = DrawsBuilder()
        for indices in minibatches:
            builder.append(handlers.trace(model).get_trace(torch.tensor(indices)))
        return _coordinates(builder.build())

    assert coordinates([4, 7], [4, 7]) == {"some": [4, 7], "all": [0, 1, 2]}
    assert coordinates([4, 7], [4, 8]) == {"some": [0, 1], "all": [0, 1, 2]}


def test_sites_without_a_column_are_left_out_with_a_warning():
    draws = Draws.concatenate([Draws({"z": torch.zeros(2), "w": torch.zeros(2)}), Draws({"z": torch.zeros(1)})])
    with pytest.warns(UserWarning, match="leaves out site 'w'"):
        assert [name for name, _, _ in _dense(draws.values, "latent")] == ["z"]
