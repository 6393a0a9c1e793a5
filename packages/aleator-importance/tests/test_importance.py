"""How a run goes: vectorized or looped, what is refused, what is kept."""

import gc
import warnings

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import CheckpointError, ModelGuideMismatchError, NonFiniteError, UnsupportedModelError
from aleator.sites import Site
from aleator.trace import Trace
from aleator_importance import Importance, ImportanceWarning

DATA = torch.tensor([0.5, -1.0, 2.0])


def model():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3):
        w = aleator.sample("w", dist.Normal(z, 1.0))
        aleator.deterministic("both", torch.stack([w, w + z], -1), event_dim=1)
        aleator.sample("x", dist.Normal(w, 1.0), obs=DATA)
    return z + w.sum(-1, keepdim=False) if w.dim() == 1 else z.squeeze(-1) + w.sum(-1)


def guide():
    loc = aleator.param("loc", torch.tensor(0.3))
    z = aleator.sample("z", dist.Normal(loc, 1.0))
    with aleator.plate("data", 3):
        aleator.sample("w", dist.Normal(0.5 * z, 1.2))


# k-hat of fifty draws says little, and the programs here are not chosen for their weights
pytestmark = pytest.mark.filterwarnings("ignore:the weights are unreliable")


def quiet(model, guide=None, num_samples=50, **options):
    return Importance(model, guide, num_samples, rng=0, progress=False, **options)


@pytest.mark.parametrize("proposal", [None, guide])
def test_a_run_for_many_draws_has_what_a_loop_has(proposal):
    """Weights recomputed from the columns, one draw at a time, through the programs themselves."""
    with aleator.ParamStore():
        many = quiet(model, proposal).run()
        loop = quiet(model, proposal, vectorize=False).run()
        assert many.execution == "vectorized: 50 draws in 1 run"
        assert loop.execution == "looped: vectorize=False"
        assert list(many.draws.values) == list(loop.draws.values)
        for name in loop.draws.values:
            assert many.draws.values[name].shape == loop.draws.values[name].shape
            assert many.draws.values.describe(name) == loop.draws.values.describe(name)
        assert many.draws.dims == loop.draws.dims
        assert many.draws.log_likelihoods["x"].shape == (50, 3)
        for place in (0, 17, 49):
            trace = many.exec_traces[place]
            replayed = handlers.trace(handlers.replay(model, trace=trace)).get_trace()
            weight = replayed.log_prob_sum(lambda name, site: site.is_observed or proposal is not None)
            if proposal is not None:
                weight = weight - handlers.trace(handlers.replay(guide, trace=trace)).get_trace().log_prob_sum()
            torch.testing.assert_close(many.log_weights[place], weight.detach())
            torch.testing.assert_close(trace.nodes["both"].value, replayed.nodes["both"].value)
            torch.testing.assert_close(many.draws.values["_RETURN"][place], replayed.nodes["_RETURN"].value)


def test_chunks_are_one_posterior_with_data_stored_once():
    posterior = quiet(model, None, 50, chunk_size=20).run()
    assert posterior.execution == "vectorized: 50 draws in 3 runs"
    assert len(posterior.draws) == 50
    assert posterior.draws.values["x"].stride(0) == 0
    assert len(torch.unique(posterior.draws.values["z"])) == 50


def test_nested_plates_and_sites_outside_of_them():
    def nested():
        top = aleator.sample("top", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with aleator.plate("rows", 4, dim=-2):
            row = aleator.sample("row", dist.Normal(top.sum(-1), 1.0))
            with aleator.plate("columns", 3, dim=-1):
                aleator.sample("cell", dist.Normal(row, 1.0), obs=torch.ones(4, 3))

    posterior = quiet(nested).run()
    assert posterior.execution.startswith("vectorized")
    assert posterior.draws.values["top"].shape == (50, 2)
    assert posterior.draws.values["row"].shape == (50, 4, 1)
    assert posterior.draws.log_likelihoods["cell"].shape == (50, 4, 3)


def branching():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    loc = 1.0 if z > 0 else -1.0
    aleator.sample("x", dist.Normal(loc, 1.0), obs=torch.tensor(0.5))


def branching_on_the_mean():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    loc = 5.0 if z.mean() > 0 else -5.0
    aleator.sample("x", dist.Normal(loc, 1.0), obs=torch.tensor(0.5))


def mixing_draws():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.sample("x", dist.Normal(z - z.mean() + 0.1, 1.0), obs=torch.tensor(0.5))


def mixing_in_a_latent():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    y = aleator.sample("y", dist.Normal(z.sum(), 1.0))
    aleator.sample("x", dist.Normal(y, 30.0), obs=torch.tensor(0.5))


def summing_a_factor():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.factor("f", -z.square().sum())


def other_sites_by_value():
    z = aleator.sample("z", dist.Bernoulli(0.5))
    if z.sum() > 1:
        aleator.sample("extra", dist.Normal(0.0, 1.0))
    aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(0.5))


def branching_where_all_go_one_way():
    z = aleator.sample("z", dist.Normal(5.0, 0.01))
    aleator.sample("x", dist.Normal(1.0 if z.mean() > 0 else -1.0, 1.0), obs=torch.tensor(0.5))


def reading_data_only():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    count = int((DATA > 0).sum())
    aleator.sample("x", dist.Normal(z, 1.0 if DATA[0] > 0 else float(count)), obs=torch.tensor(0.5))


def plain_torch_distributions():
    z = aleator.sample("z", torch.distributions.Normal(torch.tensor(0.0), torch.tensor(1.0), validate_args=True))
    x = torch.distributions.Normal(z, torch.tensor(1.0), validate_args=True)
    aleator.sample("x", x, obs=torch.tensor(0.5))


def test_checks_of_plain_torch_distributions_steer_nothing():
    assert quiet(plain_torch_distributions).run().execution.startswith("vectorized")


def test_reading_data_on_the_host_steers_nothing():
    assert quiet(reading_data_only).run().execution.startswith("vectorized")


def result_of_all():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(0.5))
    return z.mean()


@pytest.mark.parametrize(
    "program",
    [
        branching,
        branching_on_the_mean,
        branching_where_all_go_one_way,
        mixing_draws,
        mixing_in_a_latent,
        summing_a_factor,
        other_sites_by_value,
        result_of_all,
    ],
)
def test_programs_that_do_not_go_by_draws_are_looped_and_it_is_said_once(program):
    """Each of these runs for many draws, or nearly, and would give wrong numbers there without a word."""
    posterior = Importance(program, None, 30, rng=0, progress=False)
    with pytest.warns(ImportanceWarning, match="loops over its 30 draws"):
        posterior.run()
    assert posterior.execution.startswith("looped: ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "the weights are unreliable", ImportanceWarning)
        posterior.run()
    with pytest.raises(UnsupportedModelError, match="vectorize=True"):
        quiet(program, None, 30, vectorize=True).run()


def test_a_looped_program_has_the_weights_of_its_own_draws():
    posterior = quiet(branching, None, 200, vectorize=False).run()
    loc = torch.where(posterior.draws.values["z"] > 0, 1.0, -1.0)
    torch.testing.assert_close(posterior.log_weights, dist.Normal(loc, 1.0).log_prob(torch.tensor(0.5)))


def test_sites_that_only_some_draws_have_are_ragged():
    def stochastic():
        z = aleator.sample("z", dist.Bernoulli(0.5))
        if z.item() > 0:
            aleator.sample("extra", dist.Normal(0.0, 1.0))
        aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(0.5))

    posterior = quiet(stochastic, None, 30, vectorize=False).run()
    assert posterior.draws.values.is_ragged("extra")
    assert len(posterior.draws.values.ragged("extra")) == int(posterior.draws.values["z"].sum())


def minibatched(subsample=None, size=2):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3, subsample_size=size, subsample=subsample) as indices:
        aleator.sample("x", dist.Normal(z, 1.0), obs=DATA[indices])


def test_random_minibatches_are_refused():
    with pytest.raises(UnsupportedModelError, match=r"plate 'data' has a random minibatch.*run on all data"):
        quiet(minibatched).run()
    with pytest.raises(UnsupportedModelError, match="plate 'data' has a random minibatch"):
        quiet(lambda: [aleator.sample(f"z{i}", dist.Normal(0.0, 1.0)) for i in aleator.plate("data", 3, 2)]).run()
    with pytest.raises(UnsupportedModelError, match="minibatch that is hidden"):
        quiet(handlers.block(minibatched, hide_types=["subsample"])).run()
    posterior = quiet(minibatched).run(size=3)
    assert posterior.execution.startswith("vectorized")


def test_a_stated_minibatch_weighs_by_its_scale_and_must_stay_the_same():
    posterior = quiet(minibatched).run(subsample=torch.tensor([0, 2]))
    z = posterior.draws.values["z"]
    expected = 1.5 * (dist.Normal(z, 1.0).log_prob(DATA[0]) + dist.Normal(z, 1.0).log_prob(DATA[2]))
    torch.testing.assert_close(posterior.log_weights, expected)
    assert posterior.draws.subsamples["data"].tolist()[0] == [0, 2]
    changing = iter([torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([1, 2])])
    with pytest.raises(UnsupportedModelError, match="another minibatch in each run"):
        quiet(lambda: minibatched(subsample=next(changing)), None, 3).run()


def test_programs_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ModelGuideMismatchError, match="'w'"):
        quiet(model, lambda: aleator.sample("z", dist.Normal(0.0, 1.0))).run()


def test_a_weight_that_is_no_number_is_refused_by_the_name_of_its_site():
    def broken():
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("broken", torch.where(z > 0, float("nan"), z))

    with aleator.validation_enabled(False), pytest.raises(NonFiniteError, match="model site 'broken'"):
        quiet(broken).run()
    with aleator.validation_enabled(False), pytest.raises(NonFiniteError, match="model site 'broken'"):
        quiet(broken, vectorize=False).run()


def test_draws_that_the_model_does_not_allow_have_weight_zero():
    def half():
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("positive", torch.where(z > 0, 0.0, -torch.inf))

    posterior = quiet(half, None, 1000).run()
    positive = posterior.draws.values["z"] > 0
    assert posterior.get_ESS().item() == pytest.approx(positive.sum().item())
    assert posterior.get_log_normalizer().exp().item() == pytest.approx(positive.float().mean().item())
    with pytest.warns(ImportanceWarning, match="weight zero"):
        nothing = Importance(
            lambda: (aleator.sample("z", dist.Normal(0.0, 1.0)), aleator.factor("never", -torch.inf)),
            None,
            20,
            progress=False,
        ).run()
    with pytest.warns(ImportanceWarning, match="sample size is zero"):
        assert nothing.get_ESS().item() == 0.0
    with pytest.raises(ValueError, match="every sample has weight zero"):
        nothing.get_normalized_weights()


def test_without_a_number_of_samples_it_draws_ten_and_says_so():
    """SEMANTICS 51."""
    with pytest.warns(ImportanceWarning, match="10 are drawn"):
        posterior = Importance(model, progress=False)
    assert len(posterior.run().draws) == 10


def test_without_draws_it_warns():
    """SEMANTICS 52."""
    posterior = quiet(model, None, 0).run()
    with pytest.warns(ImportanceWarning, match="there are no draws"):
        assert posterior.get_ESS().item() == 0.0
    with pytest.warns(ImportanceWarning, match="there are no draws"):
        assert posterior.get_log_normalizer().item() == -torch.inf
    with pytest.warns(ImportanceWarning, match="no draws"):
        assert len(posterior.get_normalized_weights()) == 0


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="num_samples must be an int of at least 0"):
        Importance(model, None, -1)
    with pytest.raises(ValueError, match="chunk_size must be an int of at least 1"):
        Importance(model, None, 5, chunk_size=0)
    with pytest.raises(TypeError, match="callable as guide"):
        Importance(model, 3, 5)


@pytest.mark.parametrize("vectorize", [True, False])
def test_nothing_kept_hangs_on_a_graph_or_on_the_programs_tensors(vectorize):
    """SEMANTICS 51: no graph; and writing into data afterwards does not reach the draws."""
    data = DATA.clone()

    def program():
        z = aleator.sample("z", dist.Normal(aleator.param("a", torch.tensor(0.0)), 1.0))
        aleator.sample("y", dist.Normal(z, 1.0), obs=data[0])
        with aleator.plate("data", 3):
            aleator.sample("x", dist.Normal(z, 1.0), obs=data)
        return data

    with aleator.ParamStore():
        posterior = quiet(program, None, 20, vectorize=vectorize).run()
        assert aleator.get_param_store()["a"].requires_grad
    kept = [posterior.log_weights, *(posterior.draws.values[name] for name in posterior.draws.values)]
    assert not any(tensor.requires_grad for tensor in kept)
    data.fill_(100.0)
    assert posterior.draws.values["x"][3].tolist() == DATA.tolist()
    assert posterior.draws.values["_RETURN"][3].tolist() == DATA.tolist()


def test_no_trace_per_draw_is_left():
    def traces():
        gc.collect()
        return sum(type(each) in (Trace, Site) for each in gc.get_objects())

    before = traces()
    kept = [quiet(model, None, 300).run(), quiet(model, None, 40, vectorize=False).run()]
    assert traces() - before < 10
    assert [len(each.draws) for each in kept] == [300, 40]


def test_one_seed_gives_one_run_and_the_process_stream_stays_where_it_was():
    state = torch.get_rng_state()
    first, second = quiet(model).run(), quiet(model).run()
    assert torch.equal(first.log_weights, second.log_weights)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first.log_weights, first.run().log_weights)


def test_a_saved_run_comes_back_whole_and_goes_on_as_it_would_have(tmp_path):
    posterior = quiet(model).run()
    posterior.save(tmp_path / "run.pt")
    goes_on = posterior.run().log_weights.clone()
    other = Importance(model, None, 50, rng=77, progress=False)
    other.load(tmp_path / "run.pt")
    assert other.execution == "vectorized: 50 draws in 1 run"
    restored = quiet(model).run()
    assert torch.equal(other.log_weights, restored.log_weights)
    for name in restored.draws.values:
        assert torch.equal(other.draws.values[name], restored.draws.values[name])
        assert other.draws.values.describe(name) == restored.draws.values.describe(name)
    assert other.draws.values["x"].stride(0) == 0
    assert torch.equal(other.run().log_weights, goes_on)
    (tmp_path / "torn.pt").write_bytes((tmp_path / "run.pt").read_bytes()[:300])
    with pytest.raises(CheckpointError):
        other.load(tmp_path / "torn.pt")
    assert torch.equal(other.log_weights, goes_on)


def test_a_bad_guide_is_warned_of_in_words():
    """The guide is far narrower than the posterior: a fifth of its scale has weights without a finite variance."""

    def narrow():
        aleator.sample("z", dist.Normal(0.0, 0.15))

    def wanted():
        aleator.sample("z", dist.Normal(0.0, 1.0))

    with pytest.warns(ImportanceWarning, match=r"k-hat is .*, above 0.70, which 10,000 draws allow.*better guide"):
        Importance(wanted, narrow, 10000, rng=0, progress=False).run()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Importance(wanted, lambda: aleator.sample("z", dist.Normal(0.0, 1.2)), 10000, rng=0, progress=False).run()


@pytest.mark.parametrize("vectorize", [True, False])
def test_an_auxiliary_site_of_the_guide_counts_as_its_density(vectorize):
    """A log-normal proposal written as a normal one and its image, whose log density is the Jacobian's."""

    def target():
        z = aleator.sample("z", dist.Gamma(2.0, 1.0))
        aleator.sample("x", dist.Poisson(z), obs=torch.tensor(3.0))

    def image():
        u = aleator.sample("u", dist.Normal(0.5, 0.8), infer={"is_auxiliary": True})
        aleator.sample("z", dist.Delta(u.exp(), log_density=-u))

    posterior = quiet(target, image, 4000 if vectorize else 100, vectorize=vectorize).run()
    z = posterior.draws.values["z"]
    expected = dist.Gamma(2.0, 1.0).log_prob(z) + dist.Poisson(z).log_prob(torch.tensor(3.0))
    torch.testing.assert_close(posterior.log_weights, expected - dist.LogNormal(0.5, 0.8).log_prob(z))
    # the evidence is negative binomial: C(4, 3) / 2 ** 5
    error = posterior.get_log_normalizer_standard_error().item()
    assert posterior.get_log_normalizer().exp().item() == pytest.approx(4 / 32, abs=4 * error / 8)


def test_a_run_that_loops_shows_its_progress_and_one_run_for_all_does_not(capsys):
    Importance(branching, None, 20, vectorize=False, rng=0).run()
    assert "Importance: 100%" in capsys.readouterr().err
    Importance(model, None, 20, rng=0).run()
    assert capsys.readouterr().err == ""


def equal_on_the_host():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    loc = 1.0 if torch.equal(z, z.abs()) else -1.0
    aleator.sample("x", dist.Normal(loc, 1.0), obs=torch.tensor(0.5))


def test_comparisons_that_give_a_python_bool_are_host_reads():
    with pytest.raises(UnsupportedModelError, match=r"read drawn values on the host.*\['z'\]"):
        quiet(equal_on_the_host, vectorize=True).run()


def test_memory_is_bounded_by_the_chunk(monkeypatch):
    """20,000 draws of 1,000 data each would be 160 MB of log-probabilities at once in float64: they come in chunks."""
    from aleator_importance import batching

    def big():
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        with aleator.plate("data", 1000):
            aleator.sample("x", dist.Normal(z, 100.0), obs=torch.zeros(1000))

    monkeypatch.setattr(batching, "CHUNK_BYTES", 6 * 2**20)
    posterior = quiet(big, None, 1000).run()
    runs = int(posterior.execution.split()[-2])
    assert 3 <= runs <= 12
