"""Pure steps under make_fx, vmap and AOTInductor, and what importing and a first step cost."""

import copy
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aleator import optim

CONFIGURATIONS = [
    optim.Adam(lr=0.1, amsgrad=True, weight_decay=0.1),
    optim.AdamW({"lr": 0.1}, {"clip_norm": 0.5, "clip_value": 0.3}),
    optim.Adam(lambda name: {"lr": 0.1 if name == "a" else 0.2}),
    optim.ClippedAdam(lr=0.1, lrd=0.9),
    optim.SGD(lr=0.1, momentum=0.9, dampening=0.5),
    optim.RMSprop(lr=0.1, momentum=0.5, centered=True),
    optim.Adagrad(lr=0.1, lr_decay=0.1),
    optim.Scheduled(optim.Adam(lr=0.1), optim.CosineAnnealingWarmRestarts(T_0=2, T_mult=2)),
    optim.Scheduled(optim.SGD(lr=0.1), optim.ReduceLROnPlateau(patience=0)),
    optim.Scheduled(optim.SGD(lr=0.1), optim.OneCycleLR(max_lr=1.0, total_steps=5)),
]


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in (("a", ()), ("b", (3,)), ("c", (2, 2)))}


def step_of(configuration):
    def step(grads, state, params):
        loss = sum(grad.square().sum() for grad in grads.values())
        params, state = configuration.update(grads, state, params)
        return params, configuration.scheduler_step(state, loss)

    return step


def flat(tree):
    leaves, _ = torch.utils._pytree.tree_flatten(tree)
    return leaves


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_a_state_is_a_pytree_of_tensors_that_do_not_share_memory(configuration):
    state = configuration.init(example())
    leaves = flat(state)
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves)
    assert len({leaf.data_ptr() for leaf in leaves}) == len(leaves)
    _, stepped = step_of(configuration)(example(1), state, example())
    assert torch.utils._pytree.tree_structure(stepped) == torch.utils._pytree.tree_structure(state)
    assert [leaf.dtype for leaf in flat(stepped)] == [leaf.dtype for leaf in leaves]


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.name)
def test_a_captured_step_replays_bit_equal_on_other_inputs_and_at_other_step_counts(configuration):
    """A step count, a rate or an epoch that was baked into the graph would show from the second step on."""
    step = step_of(configuration)
    params = example()
    state = configuration.init(params)
    captured = make_fx(step)(example(1), copy.deepcopy(state), copy.deepcopy(params))
    eager = replayed = (params, state)
    for seed in range(2, 8):
        eager = step(example(seed), eager[1], eager[0])
        replayed = captured(example(seed), replayed[1], replayed[0])
        for found, expected in zip(flat(replayed), flat(eager), strict=True):
            assert torch.equal(found, expected)


def test_no_number_is_read_from_the_device():
    """Fake tensors have no numbers: a read raises."""
    with torch._subclasses.FakeTensorMode() as mode:
        for configuration in CONFIGURATIONS:
            params = {name: mode.from_tensor(value) for name, value in example().items()}
            step_of(configuration)(params, configuration.init(params), params)


@pytest.mark.parametrize("configuration", CONFIGURATIONS[:7], ids=lambda c: c.name)
def test_steps_of_many_runs_at_once_under_vmap(configuration):
    runs = [example(seed) for seed in range(3)]
    grads = [example(seed + 10) for seed in range(3)]
    states = [configuration.init(params) for params in runs]
    stack = torch.utils._pytree.tree_map
    together = torch.func.vmap(configuration.update)(
        stack(lambda *t: torch.stack(t), *grads),
        stack(lambda *t: torch.stack(t), *states),
        stack(lambda *t: torch.stack(t), *runs),
    )
    for lane, (params, state, grad) in enumerate(zip(runs, states, grads, strict=True)):
        alone = configuration.update(grad, state, params)
        for found, expected in zip(flat(together), flat(alone), strict=True):
            torch.testing.assert_close(found[lane], expected)


class Steps(torch.nn.Module):
    """Every configuration's step, in one graph from tensors to tensors: a package's file knows no named tuples."""

    def __init__(self, grads, runs):
        super().__init__()
        self.structure = torch.utils._pytree.tree_structure((grads, runs))

    def forward(self, leaves):
        grads, runs = torch.utils._pytree.tree_unflatten(leaves, self.structure)
        return flat([step_of(c)(grads, s, p)[::-1] for c, (s, p) in zip(CONFIGURATIONS, runs, strict=True)])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="needs a C++ compiler")
def test_steps_build_into_an_aot_inductor_package_that_counts_on(tmp_path):
    runs = [(configuration.init(example()), example()) for configuration in CONFIGURATIONS]
    steps = Steps(example(), runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(steps, (flat((example(), runs)),), strict=False)
        path = torch._inductor.aoti_compile_and_package(exported, package_path=str(tmp_path / "steps.pt2"))
        compiled = torch._inductor.aoti_load_package(path)
    eager = packaged = flat(runs)
    for seed in range(2, 6):
        eager, packaged = steps(flat(example(seed)) + eager), compiled(flat(example(seed)) + packaged)
        for found, expected in zip(packaged, eager, strict=True):
            torch.testing.assert_close(found, expected)


def in_a_fresh_process(program):
    # Torch warns at its own import where numpy is not installed; from there on every warning is an error.
    strict = "import torch, warnings\nwarnings.simplefilter('error')\n" + program
    result = subprocess.run([sys.executable, "-c", strict], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_neither_importing_nor_a_pure_optimizers_first_step_imports_dynamo():
    program = """
import sys, torch
from aleator import optim
for make in (optim.Adam, optim.AdamW, optim.ClippedAdam, optim.SGD, optim.RMSprop, optim.Adagrad):
    optimizer = optim.Scheduled(make(lr=0.1), optim.ExponentialLR(0.9))
    params = {"a": torch.zeros(2, requires_grad=True)}
    state = optimizer.init(params)
    optimizer.update_({"a": torch.ones(2)}, state, params)
    optimizer.update({"a": torch.ones(2)}, optimizer.scheduler_step(state), params)
optim.NAdam(lr=0.1)
print("torch._dynamo" in sys.modules)
"""
    assert in_a_fresh_process(program) == ["False"]


def test_importing_changes_neither_torchs_random_state_nor_its_optimizers():
    program = """
import torch
state, names = torch.get_rng_state(), dict(vars(torch.optim))
from aleator import optim
print(torch.equal(state, torch.get_rng_state()), names == dict(vars(torch.optim)))
"""
    assert in_a_fresh_process(program) == ["True", "True"]


def test_importing_makes_nothing_and_every_public_name_is_there_when_asked_for():
    program = """
import sys
from aleator import optim
print(any(name.startswith("aleator.optim.") for name in sys.modules))
from aleator.optim import *
print(all(globals()[name] is getattr(optim, name) for name in optim.__all__), set(optim.__all__) <= set(dir(optim)))
print(sorted(optim._HOME_OF) == sorted(optim.__all__))
"""
    assert in_a_fresh_process(program) == ["False", "True", "True", "True"]
