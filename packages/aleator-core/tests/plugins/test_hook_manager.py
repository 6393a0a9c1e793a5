from __future__ import annotations

import types

import pluggy
import pytest

from aleator.plugins import EstimatorSpec, hookimpl
from aleator.plugins.manager import HookManager, RegistrationError


def plugin(**hooks):
    module = types.ModuleType("acme_plugin")
    vars(module).update(hooks)
    return module


@hookimpl
def aleator_estimators():
    return [EstimatorSpec(name="acme/A", target="acme:A", summary="A.")]


@hookimpl(specname="aleator_estimators")
def more_estimators():
    return [EstimatorSpec(name="acme/B", target="acme:B", summary="B.")]


def test_each_implementation_of_a_hook_is_called():
    manager = HookManager()
    manager.register(plugin(aleator_estimators=aleator_estimators, more=more_estimators), "acme")
    names = {spec.name for result in manager.call("acme", "aleator_estimators") for spec in result}
    assert names == {"acme/A", "acme/B"}
    assert manager.call("acme", "aleator_handlers") == []


def test_one_plugin_at_a_time():
    @hookimpl(specname="aleator_estimators")
    def raises():
        raise RuntimeError("the other plugin")

    manager = HookManager()
    manager.register(plugin(aleator_estimators=aleator_estimators), "acme")
    manager.register(plugin(aleator_estimators=raises), "zeta")
    assert len(manager.call("acme", "aleator_estimators")) == 1
    with pytest.raises(RuntimeError, match="the other plugin"):
        manager.call("zeta", "aleator_estimators")


def test_a_hook_that_returns_none_is_not_passed_over():
    @hookimpl(specname="aleator_handlers")
    def forgets():
        pass

    manager = HookManager()
    manager.register(plugin(aleator_handlers=forgets), "acme")
    assert manager.call("acme", "aleator_handlers") == [None]


@hookimpl(specname="aleator_handlers")
def with_argument(site):
    return []


@hookimpl
def aleator_estimator():
    return []


def unmarked():
    return []


@hookimpl(specname="aleator_handlers", wrapper=True)
def no_generator():
    return []


@pytest.mark.parametrize(
    ("hooks", "text"),
    [
        ({"aleator_handlers": with_argument}, r"its hook with_argument\(site\) takes arguments"),
        (
            {"aleator_estimator": aleator_estimator},
            "unknown hook 'aleator_estimator'; the hooks are aleator_algorithms",
        ),
        ({"aleator_handlers": unmarked}, "aleator_handlers lacks the marker @aleator.plugins.hookimpl"),
        ({}, "it implements no hook"),
        ({"aleator_handlers": no_generator}, "not a generator function"),
    ],
)
def test_what_does_not_fit_is_rolled_back_whole(hooks, text):
    manager = HookManager()
    bad = plugin(aleator_estimators=aleator_estimators, **hooks) if hooks else plugin()
    with pytest.raises(RegistrationError, match=text):
        manager.register(bad, "acme")
    assert manager._manager.get_name(bad) is None
    for caller in vars(manager._manager.hook).values():
        if isinstance(caller, pluggy.HookCaller):
            assert not caller.get_hookimpls()
    # The name is free again, so nothing of the failed attempt is left.
    manager.register(plugin(aleator_estimators=aleator_estimators), "acme")
    assert len(manager.call("acme", "aleator_estimators")) == 1


def test_one_module_under_two_entry_points_is_refused_and_the_first_stays():
    manager = HookManager()
    module = plugin(aleator_estimators=aleator_estimators)
    manager.register(module, "acme:one")
    with pytest.raises(RegistrationError, match="another entry point"):
        manager.register(module, "acme:two")
    assert len(manager.call("acme:one", "aleator_estimators")) == 1
