"""The example of hidden Markov models: its losses against the forward algorithm, song by song; and that it runs."""

import importlib.util
from pathlib import Path

import pytest
import torch

import aleator
from aleator.infer import TraceEnum_ELBO

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "hmm.py"


@pytest.fixture(scope="module")
def example():
    specification = importlib.util.spec_from_file_location("hmm_example", EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def forward(start, transition, logits, song):
    """The log-likelihood of one song, step by step; ``logits`` are by step, state and note."""
    chords = torch.distributions.Bernoulli(logits=logits).log_prob(song[:, None, :]).sum(-1)
    alpha = start.log() + chords[0]
    for step in range(1, len(song)):
        alpha = torch.logsumexp(alpha[:, None] + transition.log(), 0) + chords[step]
    return torch.logsumexp(alpha, 0)


def tables(example, name, song):
    """Start, transitions and logits of a model, its states as one."""
    before = torch.cat([torch.zeros_like(song[:1]), song[:-1]])
    if name == "factorial":
        harmony, rhythm = aleator.param("harmony"), aleator.param("rhythm")
        transition = torch.kron(harmony, rhythm)
        return transition[0], transition, aleator.param("notes").flatten(0, 1).expand(len(song), -1, -1)
    start, transition = aleator.param("start"), aleator.param("transition")
    if name == "hmm":
        return start, transition, aleator.param("notes").expand(len(song), -1, -1)
    states = torch.arange(example.STATES)
    return start, transition, example.VOICES(states, before[:, None, :])


@pytest.mark.parametrize("name", ["hmm", "factorial", "neural"])
def test_loss_of_a_batch_is_the_sum_of_the_songs_alone(example, name):
    """SEMANTICS 25: what lies behind the end of a song adds nothing, whatever is written there."""
    model, songs = example.MODELS[name], example.progressions(4, seed=3)
    (batch,) = example.batches(songs, size=4)
    assert len(set(batch.lengths.tolist())) > 1, "the songs should differ in length"
    behind = torch.arange(batch.rolls.shape[1]) >= batch.lengths[:, None]
    scribbled = torch.where(behind[..., None], 1.0 - batch.rolls, batch.rolls)
    estimator = TraceEnum_ELBO(max_plate_nesting=1)
    with aleator.ParamStore():
        loss = estimator.loss(model, example.guide, *batch)
        with torch.no_grad():
            exact = sum(forward(*tables(example, name, song), song) for song in songs)
        assert loss == pytest.approx(-exact.item(), rel=1e-5)
        assert estimator.loss(model, example.guide, scribbled, batch.lengths) == pytest.approx(loss, rel=1e-6)


def test_decoded_states_are_no_less_likely_than_any_single_change(example):
    """A maximum over all sequences is one among those that differ in one state."""
    (song,) = example.progressions(1, seed=5)
    with aleator.ParamStore(), torch.no_grad():
        states = example.decode(example.hmm, song)
        start, transition, logits = tables(example, "hmm", song)
        chords = torch.distributions.Bernoulli(logits=logits).log_prob(song[:, None, :]).sum(-1)

        def score(path):
            steps = transition[path[:-1], path[1:]].log().sum()
            return (start[path[0]].log() + steps + chords[torch.arange(len(path)), path].sum()).item()

        best = score(states)
        for step in range(len(song)):
            for state in range(example.STATES):
                changed = states.clone()
                changed[step] = state
                assert score(changed) <= best + 1e-4


def test_training_learns_more_than_how_often_notes_sound(example, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the picture is drawn by matplotlib")
    monkeypatch.delenv("ALEATOR_DATA", raising=False)
    found = example.main([str(tmp_path), "--epochs", "25", "--models", "hmm"])
    assert found["hmm"] > found["independent notes"]
    assert (tmp_path / "hmm.png").stat().st_size > 0
