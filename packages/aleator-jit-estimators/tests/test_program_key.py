"""No number that a program can read stays what it was when a graph was recorded."""

from __future__ import annotations

import contextvars
import dataclasses
import enum
import functools
import itertools
import random
import sys
import time
import types
import typing

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import AleatorWarning
from aleator.infer import Trace_ELBO, compile, functional
from aleator.optim import SGD
from aleator_jit_estimators import compile_report

DEFAULT = torch.float32


def point_guide():
    aleator.sample("z", dist.Delta(aleator.param("at", torch.tensor(0.25))))


def site(width):
    """What all the programs below do with the number that they have found."""
    aleator.sample("z", dist.Normal(2.0, width))


def losses_around(program, change):
    """Return the loss of a compiled step before and after a change, and the eager ones."""
    svi = functional.SVI(program, point_guide, Trace_ELBO(), SGD(lr=0.01))
    compiled = compile(svi, backend="eager")
    state, _ = svi.init(0)
    found, expected = [], []
    for action in (lambda: None, change):
        action()
        for _ in range(2):
            expected.append(svi.update(state)[1].item())
            found.append(compiled.update(state)[1].item())
    return found, expected, compiled


# Each maker gives a program and what changes the number that it reads.


def closure():
    width = 1.0

    def program():
        site(width)

    def change():
        nonlocal width
        width = 3.0

    return program, change


def list_in_closure():
    widths = [1.0, 9.0]

    def program():
        site(widths[0])

    return program, lambda: widths.__setitem__(0, 3.0)


def dict_of_dicts():
    options = {"scale": {"width": 1.0}}

    def program():
        site(options["scale"]["width"])

    return program, lambda: options["scale"].update(width=3.0)


GLOBAL_WIDTH = 1.0


def set_global(value):
    globals()["GLOBAL_WIDTH"] = value


def global_number():
    set_global(1.0)

    def program():
        site(GLOBAL_WIDTH)

    return program, lambda: set_global(3.0)


def inner_width():
    return GLOBAL_WIDTH


def outer_width():
    return inner_width()


def global_behind_functions():
    set_global(1.0)

    def program():
        site(outer_width())

    return program, lambda: set_global(3.0)


def global_in_nested_function_and_lambda():
    set_global(1.0)

    def program():
        def nested():
            return (lambda: GLOBAL_WIDTH)()

        site(nested())

    return program, lambda: set_global(3.0)


def global_in_comprehension():
    set_global(1.0)

    def program():
        site(sum([GLOBAL_WIDTH for _ in range(1)]))

    return program, lambda: set_global(3.0)


class Methodical:
    def width(self):
        return GLOBAL_WIDTH

    def __call__(self):
        site(self.width())


def global_read_by_a_method():
    set_global(1.0)
    return Methodical(), lambda: set_global(3.0)


def bound_method():
    set_global(1.0)
    owner = Methodical()

    def program():
        site(owner.width())

    return owner.__call__, lambda: set_global(3.0)


class WithAttribute:
    def __init__(self):
        self.width = 1.0

    def __call__(self):
        site(self.width)


def attribute():
    program = WithAttribute()
    return program, lambda: setattr(program, "width", 3.0)


class WithClassAttribute:
    width = 1.0

    def __call__(self):
        site(self.width)


def class_attribute():
    WithClassAttribute.width = 1.0
    return WithClassAttribute(), lambda: setattr(WithClassAttribute, "width", 3.0)


def attribute_that_hides_one_of_the_class():
    WithClassAttribute.width = 1.0
    program = WithClassAttribute()
    return program, lambda: setattr(program, "width", 3.0)


class Base:
    width = 1.0


class Derived(Base):
    def __call__(self):
        site(self.width)


def forget_own_width():
    if "width" in vars(Derived):
        del Derived.width


def attribute_of_a_base_class():
    Base.width = 1.0
    forget_own_width()
    return Derived(), lambda: setattr(Base, "width", 3.0)


def attribute_that_hides_one_of_a_base_class():
    Base.width = 1.0
    forget_own_width()

    def change():
        Derived.width = 3.0

    return Derived(), change


class WithSlots:
    __slots__ = ("width",)

    def __init__(self):
        self.width = 1.0

    def __call__(self):
        site(self.width)


def slot():
    program = WithSlots()
    return program, lambda: setattr(program, "width", 3.0)


class WithProperty:
    def __init__(self):
        self._half = 0.5

    @property
    def width(self):
        return 2.0 * self._half

    @staticmethod
    def same(value):
        return value * GLOBAL_WIDTH

    @classmethod
    def kept(cls, value):
        return cls.same(value)

    def __call__(self):
        site(self.kept(self.width))


def property_over_an_attribute():
    set_global(1.0)
    program = WithProperty()
    return program, lambda: setattr(program, "_half", 1.5)


def global_behind_static_and_class_methods():
    set_global(1.0)
    return WithProperty(), lambda: set_global(3.0)


class Dynamic:
    def __init__(self):
        self.values = {"width": 1.0}

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.values[name]


def computed_attribute():
    owner = Dynamic()

    def program():
        site(owner.width)

    return program, lambda: owner.values.update(width=3.0)


def attribute_by_name():
    owner = types.SimpleNamespace(width_a=1.0)

    def program():
        site(getattr(owner, "width" + "_" + "a"))

    return program, lambda: setattr(owner, "width_a", 3.0)


@dataclasses.dataclass
class Settings:
    width: float = 1.0


def dataclass_field():
    settings = Settings()

    def program():
        site(settings.width)

    return program, lambda: setattr(settings, "width", 3.0)


def dataclass_as_dict():
    settings = Settings()

    def program():
        (width,) = dataclasses.asdict(settings).values()
        site(width)

    return program, lambda: setattr(settings, "width", 3.0)


class Pair(typing.NamedTuple):
    width: float
    other: Settings


def field_behind_a_named_tuple():
    pair = Pair(1.0, Settings())

    def program():
        site(pair.other.width)

    return program, lambda: setattr(pair.other, "width", 3.0)


def module_attribute():
    config = types.ModuleType("aleatoric_config")
    config.width = 1.0
    program = types.FunctionType(compile_source("site(config.width)"), {"config": config, "site": site})
    return program, lambda: setattr(config, "width", 3.0)


def attribute_of_a_module_in_a_variable():
    config = types.ModuleType("aleatoric_config")
    config.width = 1.0
    source = "chosen = config if True else None\n    site(chosen.width)"
    program = types.FunctionType(compile_source(source), {"config": config, "site": site})
    return program, lambda: setattr(config, "width", 3.0)


def import_inside_a_function():
    config = types.ModuleType("aleatoric_config")
    config.width = 1.0
    sys.modules["aleatoric_config"] = config

    def program():
        import aleatoric_config as chosen

        site(chosen.width)

    return program, lambda: setattr(config, "width", 3.0)


def import_from_inside_a_function():
    config = types.ModuleType("aleatoric_config")
    config.width = 1.0
    sys.modules["aleatoric_config"] = config

    def program():
        from aleatoric_config import width

        site(width)

    return program, lambda: setattr(config, "width", 3.0)


def compile_source(body):
    scope = {}
    exec(f"def program():\n    {body}", scope)
    return scope["program"].__code__


def default_argument():
    def program(width=1.0):
        site(width)

    return program, lambda: setattr(program, "__defaults__", (3.0,))


def keyword_default():
    def program(*, width=1.0):
        site(width)

    return program, lambda: setattr(program, "__kwdefaults__", {"width": 3.0})


def keyword_default_in_place():
    def program(*, width=1.0):
        site(width)

    return program, lambda: program.__kwdefaults__.update(width=3.0)


def other_code():
    def program():
        site(1.0)

    def other():
        site(3.0)

    return program, lambda: setattr(program, "__code__", other.__code__)


def function_attribute():
    def program():
        site(program.width)

    program.width = 1.0
    return program, lambda: setattr(program, "width", 3.0)


def partial_keyword():
    program = functools.partial(lambda width: site(width), width=1.0)
    return program, lambda: program.keywords.update(width=3.0)


def partial_of_a_method():
    owner = WithAttribute()
    return functools.partial(owner), lambda: setattr(owner, "width", 3.0)


def decorated_function():
    width = 1.0

    def decorate(inner):
        @functools.wraps(inner)
        def outer():
            return inner() or site(width)

        return outer

    @decorate
    def program():
        return None

    def change():
        nonlocal width
        width = 3.0

    return program, change


class Kind(enum.Enum):
    NARROW = 1.0
    WIDE = 3.0


def enumeration():
    owner = types.SimpleNamespace(kind=Kind.NARROW)

    def program():
        site(owner.kind.value)

    return program, lambda: setattr(owner, "kind", Kind.WIDE)


CONTEXT_WIDTH = contextvars.ContextVar("CONTEXT_WIDTH", default=1.0)


def context_variable():
    CONTEXT_WIDTH.set(1.0)

    def program():
        site(CONTEXT_WIDTH.get())

    return program, lambda: CONTEXT_WIDTH.set(3.0)


def set_of_numbers():
    widths = {1.0}

    def program():
        site(sum(widths))

    return program, lambda: widths.add(2.0)


def inside_a_handler():
    owner = WithAttribute()
    return handlers.block(owner, hide=["nothing"]), lambda: setattr(owner, "width", 3.0)


def scale_of_a_handler():
    factor = [1.0]

    def program():
        with handlers.scale(scale=factor[0]):
            site(1.0)

    return program, lambda: factor.__setitem__(0, 3.0)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = 1.0
        self.noise = torch.nn.Dropout(1.0)

    def forward(self, x):
        return self.slope * (self.noise(x) + 1.0)


def hyperparameter_of_a_torch_module():
    network = Network().eval()

    def program():
        site(network(torch.zeros(())) + 0.5)

    return program, lambda: setattr(network, "slope", 3.0)


def training_flag_of_a_torch_module():
    network = Network().eval()

    def program():
        site(network(torch.ones(())))

    return program, network.train


def flag_of_a_module_inside():
    network = Network().eval()

    def program():
        site(network(torch.ones(())))

    return program, network.noise.train


def submodule_replaced():
    network = torch.nn.Sequential(torch.nn.Identity())

    def program():
        site(network(torch.ones(())))

    return program, lambda: network.__setitem__(0, torch.nn.Softplus())


def hook_of_a_torch_module():
    network = torch.nn.Identity()

    def program():
        site(network(torch.ones(())))

    return program, lambda: network.register_forward_hook(lambda module, args, out: out * 3.0)


def tensor_of_another_shape():
    owner = types.SimpleNamespace(widths=torch.ones(2))

    def program():
        site(owner.widths.sum() / 2)

    return program, lambda: setattr(owner, "widths", torch.ones(6))


def tensor_replaced_in_place():
    width = torch.tensor(1.0)

    def program():
        site(width)

    return program, lambda: width.fill_(3.0)


def tensor_turned_round():
    widths = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    def program():
        site(widths[0, 1])

    def change():
        widths.data = widths.data.t()

    return program, change


def literal_from_a_list():
    widths = [1.0, 2.0]

    def program():
        site(torch.tensor(widths)[0])

    return program, lambda: widths.__setitem__(0, 3.0)


def cached_property_before_it_is_read():
    class Lazy:
        start = 1.0

        @functools.cached_property
        def width(self):
            return self.start

    owner = Lazy()

    def program():
        site(owner.width)

    return program, lambda: vars(owner).update(width=3.0)


MAKERS = [
    closure, list_in_closure, dict_of_dicts, global_number, global_behind_functions,
    global_in_nested_function_and_lambda, global_in_comprehension, global_read_by_a_method, bound_method, attribute,
    class_attribute, attribute_that_hides_one_of_the_class, attribute_of_a_base_class,
    attribute_that_hides_one_of_a_base_class, slot, property_over_an_attribute,
    global_behind_static_and_class_methods, computed_attribute, attribute_by_name, dataclass_field,
    dataclass_as_dict, field_behind_a_named_tuple, module_attribute, attribute_of_a_module_in_a_variable,
    import_inside_a_function, import_from_inside_a_function, default_argument, keyword_default,
    keyword_default_in_place, other_code, function_attribute, partial_keyword, partial_of_a_method,
    decorated_function, enumeration, context_variable, set_of_numbers, inside_a_handler, scale_of_a_handler,
    hyperparameter_of_a_torch_module, training_flag_of_a_torch_module, flag_of_a_module_inside, submodule_replaced,
    hook_of_a_torch_module, tensor_of_another_shape, tensor_replaced_in_place, tensor_turned_round,
    literal_from_a_list, cached_property_before_it_is_read,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_change_is_seen_at_the_next_step(make):
    """Catches a stale result: the old package used on what has changed; nothing here may run uncompiled."""
    program, change = make()
    found, expected, compiled = losses_around(program, change)
    assert found == expected
    assert found[0] != found[2]
    assert compile_report(compiled).eager == ()


@pytest.fixture
def default_dtype_restored():
    yield
    torch.set_default_dtype(DEFAULT)


def test_switches_of_torch_and_of_aleator_are_part_of_the_key(default_dtype_restored):
    def program():
        site(float(torch.finfo(torch.get_default_dtype()).bits))

    found, expected, _ = losses_around(program, lambda: torch.set_default_dtype(torch.float64))
    assert found == expected
    assert found[0] != found[2]

    def validating():
        site(1.0 if aleator.validation_enabled() else 3.0)

    with aleator.validation_enabled(True):
        found, expected, _ = losses_around(validating, lambda: aleator.enable_validation(False))
    assert found == expected
    assert found[0] != found[2]


# What no key can stand for: said once, and eager.


def iterator():
    widths = itertools.count(1.0)

    def program():
        site(next(widths))

    return program, "which gives others at each step"


def generator_object():
    widths = (float(width) for width in range(1, 100))

    def program():
        site(next(widths))

    return program, "which gives others at each step"


def random_numbers_of_python():
    def program():
        site(1.0 + random.random())

    return program, "random.random"


def own_random_object():
    source = random.Random(0)

    def program():
        site(1.0 + source.random())

    return program, "changes from call to call|answers differently"


def clock():
    def program():
        site(1.0 + time.perf_counter() % 1.0)

    return program, "time.perf_counter"


def counter_in_a_closure():
    steps = 0

    def program():
        nonlocal steps
        steps += 1
        site(float(steps))

    return program, "assigns 'steps'"


STEPS = 0


def counter_in_a_global():
    def program():
        global STEPS
        STEPS += 1
        site(float(STEPS))

    return program, "assigns 'STEPS'"


def counter_in_an_attribute():
    class Counting:
        steps = 0

        def __call__(self):
            self.steps += 1
            site(float(self.steps))

    return Counting(), "changes something while it runs"


def counter_in_a_list():
    steps = []

    def program():
        steps.append(1.0)
        site(sum(steps))

    return program, "changes something while it runs"


def built_by_eval():
    def program():
        site(eval("GLOBAL_WIDTH"))

    return program, r"eval\(\)"


def file_on_disk(path=__file__):
    def program():
        with open(path, encoding="utf-8") as file:
            site(float(len(file.read(1))))

    return program, r"open\(\)"


def generator_of_torch():
    source = torch.Generator().manual_seed(0)

    def program():
        site(1.0 + torch.rand((), generator=source))

    return program, "whose content cannot be told"


def value_read_on_the_host():
    width = torch.tensor(1.0)

    def program():
        site(width.item())

    return program, "reads a value on the host"


def branch_on_a_value():
    width = torch.tensor(1.0)

    def program():
        site(1.0 if width > 0.5 else 3.0)

    return program, "reads a value on the host"


def shape_that_depends_on_values():
    widths = torch.tensor([1.0, 2.0, 3.0])

    def program():
        site(float(widths[widths > 1.5].shape[0]))

    return program, "shape of a result depends on values"


UNCOMPILED = [
    iterator, generator_object, random_numbers_of_python, own_random_object, clock, counter_in_a_closure,
    counter_in_a_global, counter_in_an_attribute, counter_in_a_list, built_by_eval, file_on_disk, generator_of_torch,
    value_read_on_the_host, branch_on_a_value, shape_that_depends_on_values,
]  # fmt: skip


@pytest.mark.parametrize("make", UNCOMPILED, ids=lambda make: make.__name__)
def test_what_no_key_can_stand_for_runs_uncompiled_and_is_said_once(make):
    """Catches a graph in which a counter, a clock or a value of the moment is frozen."""
    program, reason = make()
    svi = functional.SVI(program, point_guide, Trace_ELBO(), SGD(lr=0.01))
    compiled = compile(svi, backend="eager")
    state, _ = svi.init(0)
    with pytest.warns(AleatorWarning, match=reason) as caught:
        compiled.update(state)
    assert len(caught) == 1
    for _ in range(3):
        compiled.update(state)
    assert len(compile_report(compiled).eager) == 1
    assert compile_report(compiled).built == 0


def test_a_number_that_is_another_one_at_each_step_ends_in_uncompiled_steps():
    """Catches a compilation per step, for ever; what to do about it is said with the place."""
    owner = WithAttribute()
    svi = functional.SVI(owner, point_guide, Trace_ELBO(), SGD(lr=0.01))
    compiled = compile(svi, backend="eager")
    state, _ = svi.init(0)

    def step(number):
        owner.width = 1.0 + number
        assert compiled.update(state)[1].item() == svi.update(state)[1].item()

    for number in range(64):
        step(number)
    with pytest.warns(AleatorWarning, match=r"width is another one from step to step"):
        step(64)
    step(65)
    assert compile_report(compiled).built == 64


def test_methods_that_nobody_calls_do_not_matter():
    """Catches a walk through all of a class: what trains a model often reads clocks and files."""

    class Whole:
        def __init__(self):
            self.losses = []
            self.width = 1.0

        def __call__(self):
            site(self.width)

        def fit(self):
            self.losses.append(time.time())
            return open(__file__)

    program = Whole()
    found, expected, compiled = losses_around(program, lambda: program.losses.append(1.0))
    assert found == expected
    assert compile_report(compiled).eager == ()
    assert compile_report(compiled).captured == 1


def test_what_a_program_writes_into_tensors_it_writes_once_per_step():
    """Catches a recording that leaves its own run in a running mean."""
    seen = []
    for backend in (None, "eager"):
        mean = torch.zeros(3)

        def program(mean=mean):
            mean.mul_(0.5).add_(1.0)
            site(mean.mean() + 1.0)

        svi = functional.SVI(program, point_guide, Trace_ELBO(), SGD(lr=0.01))
        state, _ = svi.init(0)
        mean.zero_()
        used = svi if backend is None else compile(svi, backend=backend)
        losses = [used.update(state)[1].item() for _ in range(4)]
        seen.append((losses, mean.tolist()))
    assert seen[0] == seen[1]


def test_running_statistics_of_batch_norm_move_once_per_step():
    """Catches statistics that a recording leaves moved on: the operator writes them without saying so."""
    seen = []
    for backend in (None, "eager"):
        norm = torch.nn.BatchNorm1d(2)
        values = torch.tensor([[1.0, 2.0], [3.0, 5.0], [4.0, -1.0]])

        def program(norm=norm, values=values):
            site(norm(values).exp().mean() + 1.0)

        svi = functional.SVI(program, point_guide, Trace_ELBO(), SGD(lr=0.01))
        state, _ = svi.init(0)
        norm.reset_running_stats()
        used = svi if backend is None else compile(svi, backend=backend)
        for _ in range(4):
            used.update(state)
        seen.append((norm.running_mean.tolist(), norm.running_var.tolist(), norm.num_batches_tracked.item()))
        assert backend is None or compile_report(used).eager == ()
    assert seen[0] == seen[1]
    assert seen[0][2] == 4


def test_recording_changes_no_stream():
    """SEMANTICS 77: the numbers that follow a compiled step are those that follow an eager one."""
    svi = functional.SVI(lambda: site(torch.rand(()) + 1.0), point_guide, Trace_ELBO(), SGD(lr=0.01))
    state, _ = svi.init(0)
    compiled = compile(svi, backend="eager")
    torch.manual_seed(3)  # the stream under test
    random.seed(3)
    expected = torch.rand(()).item(), random.random()
    torch.manual_seed(3)  # as above
    random.seed(3)
    with pytest.warns(AleatorWarning, match="draws by torch itself"):
        compiled.update(state)
    assert (torch.rand(()).item(), random.random()) == expected
