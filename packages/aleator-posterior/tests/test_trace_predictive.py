import warnings

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import AleatorWarning
from aleator_posterior import Draws, DrawsBuilder, TracePredictive


def model(x=None, size=4, subsample=None, subsample_size=None):
    """Every datum has a local latent site; the noise is so small that a prediction tells whose it was."""
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", size, subsample_size=subsample_size, subsample=subsample) as indices:
        w = aleator.sample("w", dist.Normal(z, 1.0).mask(True))
        aleator.deterministic("whose", indices.float(), event_dim=0)
        return aleator.sample("x", dist.Normal(w, 1e-4), obs=x)


def posterior(**options):
    """Three draws whose local latent site is 10 times the draw plus the datum's index."""
    builder = DrawsBuilder()
    seen = len(options["subsample"]) if "subsample" in options else options.get("subsample_size", 4)
    for place in range(3):
        with aleator.rng(place):
            trace = handlers.trace(model).get_trace(torch.zeros(seen), **options)
        trace.nodes["w"].value = 10.0 * place + trace.nodes["whose"].value
        builder.append(trace)
    return builder.build()


def predict(draws, count=20, **options):
    with aleator.rng(1):
        return TracePredictive(model, draws, count).run(**options).draws


def test_draws_are_chosen_by_weight():
    """SEMANTICS 55: the second draw has all the weight."""
    draws = posterior()
    weighted = Draws.of_columns(
        draws.values, draws.log_likelihoods, draws.subsamples, torch.tensor([-99.0, 0.0, -99.0]), draws.chain_ids
    )
    predicted = predict(weighted)
    assert predicted.values["x"].round().unique().tolist() == [10.0, 11.0, 12.0, 13.0]
    assert predicted.log_weights.tolist() == [0.0] * 20
    assert len(predict(draws).values["z"].unique()) == 3


def test_local_latent_sites_keep_their_datum():
    """SEMANTICS 55: a twin that picks rows at random gives a datum another one's value."""
    predicted = predict(posterior()).values
    assert torch.equal(predicted["w"] % 10, torch.arange(4.0).expand(20, 4))
    torch.testing.assert_close(predicted["x"], predicted["w"], rtol=0, atol=1e-3)


def test_nothing_stored_is_changed_or_shared():
    """SEMANTICS 55: whatever is done to predictions, the posterior is as it was."""
    draws = posterior()
    before = {name: draws.values[name].clone() for name in draws.values}

    def meddling(**options):
        result = model(**options)
        with handlers.trace() as inner:
            pass
        del inner
        return result

    with aleator.rng(1):
        predicted = TracePredictive(meddling, draws, 5).run()
    for name in predicted.draws.values:
        tensor = predicted.draws.values[name]
        if tensor.stride(0):
            tensor.fill_(77.0)
    for trace in predicted.exec_traces:
        for site in trace.nodes.values():
            site.value = None
    for name, value in before.items():
        assert torch.equal(draws.values[name], value)

    def writing(**options):
        with handlers.trace() as trace:
            model(**options)
        trace.nodes["w"].value.fill_(-1.0)

    TracePredictive(writing, draws, 5).run()
    for name, value in before.items():
        assert torch.equal(draws.values[name], value)


def test_a_minibatch_takes_each_element_from_the_draw():
    """A posterior of all data, predictions for some of them, in another order."""
    predicted = predict(posterior(), subsample=torch.tensor([3, 0])).values
    assert torch.equal(predicted["w"] % 10, torch.tensor([3.0, 0.0]).expand(20, 2))


def test_a_draw_that_saw_a_minibatch_gives_it_to_the_model():
    """Each draw its own minibatch, and local sites stay with it."""
    draws = posterior(subsample_size=2)
    predicted = predict(draws, subsample_size=2).values
    assert torch.equal(predicted["w"] % 10, predicted["whose"])
    assert len({tuple(row) for row in predicted["whose"].tolist()}) > 1


@pytest.mark.parametrize(
    "options", [{"size": 6}, {"subsample": torch.tensor([0, 3])}], ids=["another size", "elements that were not seen"]
)
def test_elements_that_no_draw_has_seen_are_drawn_anew_by_the_model(options):
    """From their prior given the global site, not from other data's values."""
    draws = posterior(subsample=torch.tensor([1, 2])) if "subsample" in options else posterior()
    with pytest.warns(AleatorWarning, match="site 'w' is drawn anew by the model: plate 'data' has elements"):
        predicted = predict(draws, 200, **options).values
    centred = predicted["w"] - predicted["z"].unsqueeze(-1)
    # standard normal: 400 to 1200 values, five standard errors
    assert abs(centred.mean().item()) < 0.25
    assert centred.std().item() == pytest.approx(1.0, abs=0.15)
    assert len(predicted["z"].unique()) == 3


def test_the_same_data_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(posterior(), x=torch.zeros(4))


def test_data_stay_data_and_the_result_is_kept():
    predicted = predict(posterior(), x=torch.arange(4.0))
    assert predicted.names("observed") == ["x"]
    assert torch.equal(predicted.values["_RETURN"][7], torch.arange(4.0))


def test_arguments_are_checked():
    with pytest.raises(TypeError, match="expects a TracePosterior or Draws, but found int"):
        TracePredictive(model, 3, 5)
    with pytest.raises(ValueError, match="num_samples must be a positive int"):
        TracePredictive(model, posterior(), 0)
    with pytest.raises(ValueError, match="has no draws to choose from"):
        TracePredictive(model, Draws({}), 5).run()
    with pytest.raises(ValueError, match="no draw of the posterior has a positive, finite weight"):
        TracePredictive(model, Draws({"z": torch.zeros(2)}, torch.full((2,), -torch.inf)), 5).run()
