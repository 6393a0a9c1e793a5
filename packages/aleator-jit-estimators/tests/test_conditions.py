"""A function that is written for the places it looks at."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from aleator_jit_estimators.conditions import Conditions
from aleator_jit_estimators.watch import Watch


def test_a_class_is_looked_at_once_however_often_it_is_met():
    """A class gives another mapping each time that it is asked: catches conditions that are said twice."""

    class Program:
        number = 1

    watch = Watch()
    for _ in range(3):
        watch.add_names(vars(Program), ["number"], ["other"])
        watch.add_key_set(vars(Program), ["number"])
    assert len(watch.conditions._said) <= 3 + len(vars(Program))
    assert watch.holds()
    Program.other = 2
    assert not watch.holds()
    del Program.other
    assert watch.holds()
    Program.number = 1.0
    assert not watch.holds()


@pytest.mark.parametrize("number", [3, 900, 5_000])
def test_any_number_of_places_is_looked_at(number):
    """Catches a place beyond the length of one expression."""
    space = SimpleNamespace(**{f"name_{at}": object() for at in range(number)})
    watch = Watch()
    watch.add_names(vars(space), [*vars(space)], [])
    assert watch.holds()
    setattr(space, f"name_{number - 1}", object())
    assert not watch.holds()


def test_names_that_come_and_go_at_once_are_seen():
    space = {"used": 1, "beside": 2}
    watch = Watch()
    watch.add_names(space, ["used"], [])
    watch.add_key_set(space, ["used"])
    del space["beside"]
    space["getattr"] = 3
    assert not watch.holds()


def test_what_cannot_be_looked_up_does_not_hold():
    space = {"a": 1}
    watch = Watch()
    watch.add_names(space, ["a"], [])
    space.clear()
    assert not watch.holds()


def test_names_cannot_become_code():
    """A key is a literal in the text, whatever it holds."""
    key = "'] or __import__('sys').modules.__setitem__('pwned', 1) or x['"
    space = {key: 1}
    watch = Watch()
    watch.add_names(space, [key], [f"{key}\n"])
    watch.add_values(space)
    assert watch.holds()
    assert "pwned" not in sys.modules


def test_tensors_are_told_by_all_but_their_contents():
    for change in (
        lambda x: x.resize_(2),
        lambda x: x.t_(),
        lambda x: x.requires_grad_(),
        lambda x: setattr(x, "data", torch.ones(2, 3, dtype=torch.float64)),
        lambda x: setattr(x, "data", torch._neg_view(torch.ones(2, 3))),
    ):
        tensor = torch.ones(2, 3)
        watch = Watch()
        watch.add_tensor(tensor)
        tensor.add_(1.0)
        assert watch.holds()
        change(tensor)
        assert not watch.holds()


def test_conditions_of_a_copy_are_its_own():
    conditions = Conditions()
    conditions.say("given > 0")
    more = conditions.copy()
    more.say("given > 5")
    assert conditions.function(["given"])(3)
    assert not more.function(["given"])(3)
