"""One frozen record per context."""

import asyncio
import dataclasses
import threading

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import settings


def test_the_record_is_frozen_and_replaced_whole():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.get().validate = False
    before = settings.get()
    with settings.override(validate=False) as inside:
        assert inside is settings.get()
        assert not settings.get().validate
    assert settings.get() is before


def test_an_unknown_setting_raises():
    with pytest.raises(TypeError, match="valdate"):
        settings.update(valdate=False)


def test_the_outer_setting_comes_back_after_an_error():
    with pytest.raises(KeyError), aleator.validation_enabled(False):
        raise KeyError
    assert aleator.validation_enabled()


def test_switch_and_scope_agree():
    try:
        aleator.enable_validation(False)
        assert not aleator.validation_enabled()
        with aleator.validation_enabled(True):
            assert aleator.validation_enabled()
        assert not aleator.validation_enabled()
    finally:
        aleator.enable_validation()
    assert aleator.validation_enabled()


def test_one_scope_object_inside_itself():
    scope = aleator.validation_enabled(False)
    with scope, aleator.validation_enabled(True), scope:
        assert not aleator.validation_enabled()
    assert aleator.validation_enabled()


def test_torchs_own_switch_is_left_alone():
    """DESIGN 2, 9; issue 3: our own validation, independent of torch's global switch."""
    before = torch.distributions.Distribution._validate_args
    with aleator.validation_enabled(False):
        assert torch.distributions.Distribution._validate_args is before
        dist.Normal(0.0, -1.0)  # not checked


def test_threads_and_tasks_have_settings_of_their_own():
    """DESIGN 2, 6."""
    seen = {}

    def work():
        seen["thread"] = aleator.validation_enabled()

    async def task(flag):
        with aleator.validation_enabled(flag):
            await asyncio.sleep(0.001)
            return aleator.validation_enabled()

    async def tasks():
        return await asyncio.gather(*(task(flag) for flag in (True, False, True, False)))

    with aleator.validation_enabled(False):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert asyncio.run(tasks()) == [True, False, True, False]
    assert seen["thread"]
