"""What holds for every handler: both forms, errors, threads, tasks, and the names that plugins add."""

import asyncio
import subprocess
import sys

import pytest
import torch
from torch.distributions import Normal

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import MissingPluginError
from aleator.runtime import RUN, STACK

BOTH_LANGUAGES = {
    "trace": {},
    "block": {"hide": ["a"]},
    "condition": {"data": {"a": torch.tensor(1.0)}},
    "do": {"data": {"a": torch.tensor(1.0)}},
    "scale": {"scale": 2.0},
    "mask": {"mask": False},
    "seed": {"rng_seed": 0},
}
CORE = {
    **BOTH_LANGUAGES,
    "uncondition": {},
    "substitute": {"data": {"p": torch.tensor(2.0)}},
    "lift": {"prior": {"p": dist.LogNormal(0.0, 1.0)}},
    "infer_config": {"config_fn": lambda site: {"is_auxiliary": True}},
    "equalize": {"sites": ["a", "b"]},
    "scope": {"prefix": "s"},
    "replay": {"params": {"p": torch.tensor(2.0)}},
}
POSITIONAL = {"condition", "do", "scale", "mask", "seed", "substitute", "lift", "equalize", "scope"}


def program(language):
    def model(fail=False):
        """Draws."""
        p = language.param("p", torch.tensor(1.0))
        a = language.sample("a", Normal(0.0, p))
        b = language.sample("b", Normal(a, 1.0))
        if fail:
            raise KeyError("mine")
        return b

    return model


def seen(language, run):
    with language.handlers.seed(rng_seed=3), language.handlers.trace() as trace:
        run()
    return {name: (site.value, site.is_observed, site.scale, site.mask) for name, site in trace.nodes.items()}


@pytest.mark.parametrize("name", BOTH_LANGUAGES)
def test_around_a_function_in_a_block_and_as_a_decorator(language, name):
    arguments = BOTH_LANGUAGES[name]
    make = getattr(language.handlers, name)

    def in_a_block():
        with make(**arguments):
            program(language)()

    forms = [make(program(language), **arguments), in_a_block, make(**arguments)(program(language))]
    records = [seen(language, form) for form in forms]
    assert records[0] == records[1] == records[2]
    assert records[0].keys() <= {"p", "a", "b"}


@pytest.mark.parametrize("name", BOTH_LANGUAGES)
def test_an_error_in_the_program_leaves_the_stack_clean(language, name):
    """SEMANTICS 76."""
    with pytest.raises(KeyError, match="mine"):
        getattr(language.handlers, name)(program(language), **BOTH_LANGUAGES[name])(fail=True)
    assert seen(language, program(language)).keys() == {"p", "a", "b"}


@pytest.mark.parametrize("name", CORE)
def test_an_error_leaves_stack_and_run_clean(name):
    """SEMANTICS 76. Core only: STACK and RUN themselves, also while the traceback lives."""
    handled = getattr(handlers, name)(program(aleator), **CORE[name])
    with pytest.raises(KeyError, match="mine") as kept:
        handled(fail=True)
    assert STACK.get() == ()
    assert RUN.get() is None
    assert kept.value.__traceback__ is not None
    handled()


@pytest.mark.parametrize("name", CORE)
def test_a_handled_function_keeps_its_name(name):
    """Core only."""
    handled = getattr(handlers, name)(program(aleator), **CORE[name])
    assert handled.__name__ == "model"
    assert handled.__doc__ == "Draws."
    assert handled.__wrapped__ is handled.fn


@pytest.mark.parametrize("name", sorted(set(CORE) - {"trace"}))
def test_methods_and_coroutines(name):
    """Core only: a decorated method is bound, a decorated coroutine function is awaited under the handler."""
    handler = getattr(handlers, name)(**CORE[name])

    class Owner:
        offset = 10.0

        @handler
        def method(self):
            return self.offset + program(aleator)()

    @handler
    async def coroutine():
        await asyncio.sleep(0)
        return program(aleator)()

    def both():
        return Owner().method(), asyncio.run(coroutine())

    with handlers.seed(rng_seed=1):
        in_method = Owner().method()
    with handlers.seed(rng_seed=1):
        in_coroutine = asyncio.run(coroutine())
    torch.testing.assert_close(in_method, in_coroutine + 10.0)


@pytest.mark.parametrize("name", sorted(POSITIONAL))
def test_the_main_argument_in_the_functions_place(name):
    """Core only: `condition(data)` is `condition(data=data)`."""
    (argument,) = CORE[name].values()
    make = getattr(handlers, name)
    records = [seen(aleator, form(program(aleator))) for form in (make(argument), make(**CORE[name]))]
    assert records[0] == records[1]


@pytest.mark.parametrize("name", sorted(set(CORE) - {"trace", "block", "uncondition", "replay"}))
def test_the_main_argument_is_needed(name):
    """Core only: the message says how to write it."""
    (word,) = CORE[name]
    with pytest.raises(TypeError, match=rf"{name} needs {word}=: write {name}\({word}=\.\.\.\)"):
        getattr(handlers, name)(program(aleator))
    with pytest.raises(TypeError, match=f"{name} expects a function to handle, but found int"):
        getattr(handlers, name)(3, CORE[name][word])


@pytest.mark.parametrize("name", ["trace", "block", "uncondition"])
def test_a_function_is_needed_to_handle(name):
    """Core only."""
    with pytest.raises(TypeError, match="expects a function"):
        getattr(handlers, name)(3)


def test_names_of_plugins_resolve_lazily():
    """DESIGN 4: `handlers.enum` goes through the face; a missing plugin is named, a misspelt name is not one."""
    with pytest.raises((AttributeError, MissingPluginError)):
        handlers.enumm  # noqa: B018  # the access is the test
    assert "trace" in dir(handlers)
    assert "block" in dir(handlers)


def test_importing_the_core_loads_no_pluggy():
    """DESIGN 4."""
    code = "import sys, aleator, aleator.handlers; sys.exit('pluggy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
