"""One place to draw from: isolation of sources, threads, foreign code, preserved streams, recorded and mapped draws."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aleator import randomness
from aleator.randomness import RandomSource, foreign_draw, preserve, rng, set_rng_seed

CONCENTRATION = torch.tensor([0.5, 1.0, 4.0])
PROBS = torch.tensor([0.2, 0.5, 0.8])

DRAWS = {
    "normal": lambda: randomness.normal((3,)),
    "normal-like": lambda: randomness.normal((3,), like=PROBS),
    "normal-wider": lambda: randomness.normal((2, 3), like=PROBS),
    "uniform": lambda: randomness.uniform((3,)),
    "uniform-bounds": lambda: randomness.uniform((3,), -2.0, 3.0, like=PROBS),
    "exponential": lambda: randomness.exponential((3,)),
    "exponential-like": lambda: randomness.exponential((3,), like=PROBS),
    "cauchy": lambda: randomness.cauchy((3,)),
    "cauchy-like": lambda: randomness.cauchy((3,), like=PROBS),
    "gamma": lambda: randomness.gamma(CONCENTRATION),
    "dirichlet": lambda: randomness.dirichlet(CONCENTRATION),
    "poisson": lambda: randomness.poisson(CONCENTRATION * 3),
    "bernoulli": lambda: randomness.bernoulli(PROBS),
    "binomial": lambda: randomness.binomial(torch.full((3,), 9.0), PROBS),
    "multinomial": lambda: randomness.multinomial(PROBS, 4),
    "permutation": lambda: randomness.permutation(9),
    "subset": lambda: randomness.permutation(9, 3),
}

draws = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)

TORCHS = {
    "normal": lambda: torch.randn(3),
    "normal-wider": lambda: torch.randn(2, 3),
    "uniform": lambda: torch.rand(3),
    "uniform-bounds": lambda: torch.empty(3).uniform_(-2.0, 3.0),
    "exponential": lambda: torch.empty(3).exponential_(),
    "cauchy": lambda: torch.empty(3).cauchy_(),
    "gamma": lambda: torch._standard_gamma(CONCENTRATION),
    "dirichlet": lambda: torch._sample_dirichlet(CONCENTRATION),
    "poisson": lambda: torch.poisson(CONCENTRATION * 3),
    "bernoulli": lambda: torch.bernoulli(PROBS),
    "multinomial": lambda: torch.multinomial(PROBS, 4, True),
    "permutation": lambda: torch.randperm(9),
    "subset": lambda: torch.randperm(9)[:3],
}


@pytest.mark.parametrize("name", TORCHS)
def test_without_a_source_draws_are_torchs(name):
    torch.manual_seed(4)
    expected, following = TORCHS[name](), torch.rand(1)
    torch.manual_seed(4)
    assert torch.equal(DRAWS[name](), expected)
    assert torch.equal(torch.rand(1), following)


@draws
def test_a_source_repeats_and_leaves_the_process_alone(draw):
    before = torch.get_rng_state()
    with rng(11):
        first, second = draw(), draw()
    with rng(11):
        again = draw(), draw()
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(torch.cat([first, second]), torch.cat([second, first]))
    assert torch.equal(torch.get_rng_state(), before)


@draws
def test_a_source_draws_what_the_process_would_from_its_seed(draw):
    with rng(12):
        owned = draw()
    with preserve():
        set_rng_seed(12)
        assert torch.equal(draw(), owned)


def test_one_object_is_one_stream_however_it_is_entered():
    with rng(5):
        whole = torch.cat([randomness.normal((2,)) for _ in range(4)])
    scope = rng(5)
    parts = []
    with scope:
        parts.append(randomness.normal((2,)))
        with scope:
            parts.append(randomness.normal((2,)))
        with rng(99):
            randomness.normal((2,))
        parts.append(randomness.normal((2,)))
    assert randomness.current() is None
    with scope:
        parts.append(randomness.normal((2,)))
    assert torch.equal(torch.cat(parts), whole)


def test_the_outer_source_returns_also_after_an_exception():
    with rng(0) as outer:
        with pytest.raises(RuntimeError, match="inside"), rng(1):
            raise RuntimeError("inside")
        assert randomness.current() is outer
        with rng(None):
            assert randomness.current() is None
    assert randomness.current() is None


def test_a_given_generator_is_used_itself():
    generator = torch.Generator().manual_seed(3)
    expected = torch.randn(4, generator=torch.Generator().manual_seed(3))
    with rng(generator):
        assert torch.equal(randomness.normal((4,)), expected)
    assert not torch.equal(generator.get_state(), torch.Generator().manual_seed(3).get_state())


def test_state_goes_out_and_back():
    source = RandomSource(8)
    with rng(source):
        randomness.normal((3,))
        state = source.get_state()
        ahead = randomness.normal((20,))
    assert set(state) == {"cpu"}
    source.set_state(state)
    twin = RandomSource.from_state(state)
    for each in (source, twin):
        with rng(each):
            assert torch.equal(randomness.normal((20,)), ahead)


def test_set_rng_seed_seeds_the_process_and_the_source():
    with preserve():
        set_rng_seed(21)
        first = torch.rand(2), random.random()
        set_rng_seed(21)
        assert torch.equal(torch.rand(2), first[0])
        assert random.random() == first[1]
        with rng(0):
            set_rng_seed(22)
            seeded = randomness.normal((2,))
        with rng(22):
            assert torch.equal(randomness.normal((2,)), seeded)


def test_preserve_puts_every_stream_back():
    with rng(1) as source:
        before = source.get_state()["cpu"], torch.get_rng_state(), random.getstate()
        with pytest.raises(KeyError), preserve():
            _draw_everywhere_and_raise()
        assert torch.equal(source.get_state()["cpu"], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert random.getstate() == before[2]


def test_preserve_leaves_numpys_random_numbers_unimported(monkeypatch):
    """Importing them takes longer than a step; what imports them inside the block leaves them as if just imported."""
    seeds = []
    monkeypatch.delitem(sys.modules, "numpy.random", raising=False)
    monkeypatch.setitem(sys.modules, "numpy", SimpleNamespace())
    with preserve():
        pass
    assert "numpy.random" not in sys.modules
    with preserve():
        monkeypatch.setitem(sys.modules, "numpy.random", SimpleNamespace(seed=lambda: seeds.append("system")))
    assert seeds == ["system"]


def _draw_everywhere_and_raise():
    randomness.normal((3,))
    torch.rand(3)
    random.random()
    raise KeyError


def test_foreign_code_draws_from_the_source():
    with rng(6):
        expected = [randomness.normal((3,)), randomness.normal((3,)), randomness.normal((3,))]
    process = torch.get_rng_state()
    with rng(6):
        found = [randomness.normal((3,))]
        with foreign_draw():
            found.append(torch.randn(3))
            # Our own draws inside come from the same place: two streams from one state would repeat numbers.
            found.append(randomness.normal((3,)))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), process)


def test_foreign_draw_nests_and_survives_exceptions():
    process = torch.get_rng_state()
    with rng(6) as source:
        with pytest.raises(KeyError), foreign_draw(), foreign_draw():
            _draw_one_and_raise()
        assert randomness.current() is source
        assert torch.equal(source.get_state()["cpu"], _after_one_uniform(6))
    assert torch.equal(torch.get_rng_state(), process)


def _draw_one_and_raise():
    torch.rand(1)
    raise KeyError


def _after_one_uniform(seed):
    generator = torch.Generator().manual_seed(seed)
    torch.rand(1, generator=generator)
    return generator.get_state()


def test_without_a_source_foreign_draw_does_nothing():
    torch.manual_seed(2)
    expected = torch.rand(2)
    torch.manual_seed(2)
    with foreign_draw():
        found = torch.rand(2)
    assert torch.equal(found, expected)


def _stream(seed):
    with rng(seed):
        parts = []
        for _ in range(30):
            parts.append(randomness.normal((5,)))
            parts.append(randomness.gamma(CONCENTRATION))
            with foreign_draw():
                parts.append(torch.rand(4))
        return torch.cat(parts)


def test_eight_threads_draw_what_each_draws_alone():
    alone = [_stream(seed) for seed in range(8)]
    process = torch.get_rng_state()
    start = threading.Barrier(8)

    def work(seed):
        start.wait()
        return _stream(seed)

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, range(8)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert torch.equal(torch.get_rng_state(), process)


def test_tasks_draw_what_each_draws_alone():
    async def work(seed):
        with rng(seed):
            parts = []
            for _ in range(5):
                parts.append(randomness.normal((2,)))
                await asyncio.sleep(0)
            return torch.cat(parts)

    async def all_of_them():
        return await asyncio.gather(*[work(seed) for seed in range(4)])

    for seed, found in enumerate(asyncio.run(all_of_them())):
        with rng(seed):
            assert torch.equal(found, torch.cat([randomness.normal((2,)) for _ in range(5)]))


@draws
@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_lanes_of_vmap_differ_and_repeat(draw, owned):
    def lanes():
        return torch.func.vmap(lambda shift: draw() + 0 * shift, randomness="different")(torch.zeros(6))

    def run():
        if not owned:
            set_rng_seed(1)
            return lanes()
        with rng(1):
            return lanes()

    process = torch.get_rng_state()
    with preserve():
        first, second = run(), run()
    assert len({tuple(row.tolist()) for row in first.flatten(1)}) > 1, "every lane drew the same"
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), process)


@draws
def test_draws_can_be_recorded_and_replayed_from_any_state(draw):
    with preserve():
        graph = make_fx(lambda x: draw() + 0 * x)(torch.zeros(()))
    for seed in (1, 2):
        with rng(seed):
            expected = draw()
        with rng(seed), foreign_draw():
            assert torch.equal(graph(torch.zeros(())), expected + 0.0)


def test_recording_under_a_source_draws_from_the_process_generator():
    with rng(3) as source:
        before = source.get_state()["cpu"]
        with preserve():
            graph = make_fx(lambda x: x + randomness.normal((2,)))(torch.zeros(2))
        assert torch.equal(source.get_state()["cpu"], before)
    targets = [str(node.target) for node in graph.graph.nodes]
    assert "aten.randn.default" in targets or "aten.randn.generator" in targets


def test_implicit_gradients():
    for draw, torchs in (
        (randomness.gamma, torch._standard_gamma),
        (randomness.dirichlet, torch.distributions.dirichlet._Dirichlet.apply),
    ):
        found = []
        for function in (draw, torchs):
            leaf = CONCENTRATION.clone().requires_grad_()
            torch.manual_seed(5)
            (function(leaf) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
            found.append(leaf.grad)
        torch.testing.assert_close(*found, rtol=0, atol=0)
        torch.manual_seed(5)
        mapped = torch.func.grad(lambda c, draw=draw: (draw(c) * torch.tensor([1.0, 2.0, 3.0])).sum())(CONCENTRATION)
        torch.testing.assert_close(mapped, found[0])


def test_permutation_is_a_subset_without_replacement():
    with rng(0):
        subset = randomness.permutation(10, 4)
        whole = randomness.permutation(5, 9)
    assert subset.shape == (4,)
    assert len(set(subset.tolist())) == 4
    assert sorted(whole.tolist()) == list(range(5))


@pytest.mark.gpu
def test_accelerator_generators_follow_the_source():
    with rng(0) as source:
        first = randomness.normal((8,), device=torch.device("cuda"))
        state = source.get_state()
        second = randomness.normal((8,), like=first)
        with foreign_draw():
            third = torch.randn(8, device="cuda")
    with rng(0):
        again = [randomness.normal((8,), device=torch.device("cuda")) for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip([first, second, third], again, strict=True))
    with rng(RandomSource.from_state(state)):
        assert torch.equal(randomness.normal((8,), like=first), second)
