"""The kit for handlers: the core's own pass, and each broken one is found."""

from __future__ import annotations

import pytest
import torch

import aleator.distributions as dist
from aleator import handlers
from aleator_testing import check_messenger
from aleator_testing.messenger_checks import MESSENGER_CHECKS
from aleator_testing.mutants.handlers import BROKEN_HANDLERS

SOUND = {
    "block": lambda: handlers.block(hide=["z"]),
    "condition": lambda: handlers.condition(data={"z": torch.tensor(0.5)}),
    "do": lambda: handlers.do(data={"z": torch.tensor(0.5)}),
    "equalize": lambda: handlers.equalize(sites=["step_0", "step_1"]),
    "infer_config": lambda: handlers.infer_config(config_fn=lambda site: {}),
    "lift": lambda: handlers.lift(prior={"loc": dist.Normal(0.0, 1.0)}),
    "mask": lambda: handlers.mask(mask=False),
    "plate": lambda: handlers.plate("outer", 2, dim=-3),
    "scale": lambda: handlers.scale(scale=2.0),
    "scope": lambda: handlers.scope(prefix="a"),
    "seed": lambda: handlers.seed(rng_seed=3),
    "substitute": lambda: handlers.substitute(data={"loc": torch.tensor(0.5)}),
    "trace": handlers.trace,
    "uncondition": handlers.uncondition,
}


@pytest.mark.parametrize("factory", SOUND.values(), ids=SOUND)
def test_the_core_s_handlers_pass(factory):
    check_messenger(factory).raise_for_failures()


@pytest.mark.parametrize("broken", BROKEN_HANDLERS, ids=lambda broken: broken.name)
def test_every_broken_handler_is_found(broken):
    failed = {outcome.check.id for outcome in check_messenger(broken.factory) if outcome.status == "failed"}
    assert broken.fails in failed


def test_every_check_finds_something():
    assert {each.id for each in MESSENGER_CHECKS} == {broken.fails for broken in BROKEN_HANDLERS}


def test_what_is_no_handler_is_refused():
    with pytest.raises(TypeError, match="but found str"):
        check_messenger(lambda: "trace")
