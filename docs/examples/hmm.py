"""Hidden Markov models of polyphonic music: plain, factorial, and with a network; trained, compared, and decoded.

    python docs/examples/hmm.py [FOLDER] [--epochs N] [--models hmm factorial neural]

The music is the file ``jsb-chorales-quarter.json`` (Bach's chorales, four notes a quarter; Boulanger-Lewandowski et al.
2012) in the folder that the environment variable ``ALEATOR_DATA`` names, or, without it, a few progressions of chords
made here. Writes ``hmm.png``, a piano roll above the states that each model decodes from it.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.handlers import mask
from aleator.infer import SVI, TraceEnum_ELBO, config_enumerate, infer_discrete
from aleator.ops import Vindex
from aleator.optim import Adam

LOWEST, NOTES = 43, 54  # the chorales' range, in MIDI numbers
STATES, SIDE, HIDDEN = 16, 4, 32  # the factorial model has SIDE * SIDE states, as many as the others


class Batch(NamedTuple):
    """Sequences of unequal length: piano rolls ``(sequences, steps, notes)``, zero behind each one's end."""

    rolls: Tensor
    lengths: Tensor


def noise(*shape, seed=0):
    """Numbers to start parameters from, the same at each call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sticky(size, seed=0):
    """A table of transitions to start from, whose states tend to stay."""
    return (noise(size, size, seed=seed) + 2.0 * torch.eye(size)).softmax(-1)


# [hmm]
@config_enumerate
def hmm(rolls, lengths):
    """One state a step, and each note on or off given the state."""
    start = aleator.param("start", torch.ones(STATES) / STATES, constraint=constraints.simplex)
    transition = aleator.param("transition", sticky(STATES), constraint=constraints.simplex)
    notes = aleator.param("notes", noise(STATES, NOTES) - 2.0)
    states = []
    with aleator.plate("sequences", len(rolls)):
        for t in aleator.markov(range(rolls.shape[1])):
            with mask(mask=t < lengths):
                probs = Vindex(transition)[states[-1], :] if states else start
                states.append(aleator.sample(f"state_{t}", dist.Categorical(probs)))
                law = dist.Bernoulli(logits=Vindex(notes)[states[-1], :]).to_event(1)
                aleator.sample(f"chord_{t}", law, obs=rolls[:, t])
    return states


# [hmm]


@config_enumerate
def factorial(rolls, lengths):
    """Two chains that know nothing of each other, and notes that hear both (Ghahramani and Jordan 1997)."""
    harmony = aleator.param("harmony", sticky(SIDE, 1), constraint=constraints.simplex)
    rhythm = aleator.param("rhythm", sticky(SIDE, 2), constraint=constraints.simplex)
    notes = aleator.param("notes", noise(SIDE, SIDE, NOTES) - 2.0)
    states = []
    x = y = torch.tensor(0)
    with aleator.plate("sequences", len(rolls)):
        for t in aleator.markov(range(rolls.shape[1])):
            with mask(mask=t < lengths):
                x = aleator.sample(f"harmony_{t}", dist.Categorical(Vindex(harmony)[x, :]))
                y = aleator.sample(f"rhythm_{t}", dist.Categorical(Vindex(rhythm)[y, :]))
                law = dist.Bernoulli(logits=Vindex(notes)[x, y, :]).to_event(1)
                aleator.sample(f"chord_{t}", law, obs=rolls[:, t])
            states.append(SIDE * x + y)
    return states


class Voices(nn.Module):
    """The logits of a chord, given the state and the chord before."""

    def __init__(self):
        super().__init__()
        self.state = nn.Embedding(STATES, HIDDEN)
        self.before = nn.Linear(NOTES, HIDDEN)
        self.chord = nn.Linear(HIDDEN, NOTES)
        for place, parameter in enumerate(self.parameters()):
            parameter.data = 0.2 * noise(*parameter.shape, seed=place)
        self.chord.bias.data -= 2.0

    def forward(self, state, before):
        """Logits of the shape that state and chord broadcast to, and the notes."""
        return self.chord(torch.relu(self.state(state) + self.before(before)))


VOICES = Voices()


@config_enumerate
def neural(rolls, lengths):
    """One state a step, and a network that gives the chord, from the state and from the chord before."""
    voices = aleator.module("voices", VOICES)
    start = aleator.param("start", torch.ones(STATES) / STATES, constraint=constraints.simplex)
    transition = aleator.param("transition", sticky(STATES), constraint=constraints.simplex)
    states = []
    before = torch.zeros_like(rolls[:, 0])
    with aleator.plate("sequences", len(rolls)):
        for t in aleator.markov(range(rolls.shape[1])):
            with mask(mask=t < lengths):
                probs = Vindex(transition)[states[-1], :] if states else start
                states.append(aleator.sample(f"state_{t}", dist.Categorical(probs)))
                law = dist.Bernoulli(logits=voices(states[-1], before)).to_event(1)
                aleator.sample(f"chord_{t}", law, obs=rolls[:, t])
            before = rolls[:, t]
    return states


MODELS = {"hmm": hmm, "factorial": factorial, "neural": neural}


def guide(rolls, lengths):
    """Nothing is left to guess: the states are summed out."""


def load() -> tuple[list[Tensor], list[Tensor]]:
    """Sequences to learn from, and others to be judged by."""
    path = Path(os.environ.get("ALEATOR_DATA", "")) / "jsb-chorales-quarter.json"
    if "ALEATOR_DATA" not in os.environ or not path.exists():
        print("ALEATOR_DATA names no folder with the chorales: a few progressions of chords instead")
        return progressions(24, seed=1), progressions(8, seed=2)
    songs = json.loads(path.read_text(encoding="utf-8"))
    return [roll(song) for song in songs["train"]], [roll(song) for song in songs["test"]]


def roll(song) -> Tensor:
    """A song, a list of chords of MIDI numbers, as a piano roll ``(steps, notes)``."""
    found = torch.zeros(len(song), NOTES)
    for step, chord in enumerate(song):
        found[step, [note - LOWEST for note in chord]] = 1.0
    return found


def progressions(count: int, seed: int) -> list[Tensor]:
    """Songs of four chords in turn, each held for some steps and broken by a missing note now and then."""
    chords = [[48, 55, 64, 72], [53, 57, 65, 72], [55, 59, 62, 71], [57, 60, 64, 76]]
    source = torch.Generator().manual_seed(seed)
    songs = []
    for length in torch.randint(6, 15, (count,), generator=source).tolist():
        moves = torch.rand(length, generator=source) < 0.4
        turns = moves.cumsum(0).tolist()
        sounding = roll([chords[turn % len(chords)] for turn in turns])
        songs.append(sounding * (torch.rand(length, NOTES, generator=source) < 0.9))
    return songs


def batches(songs: list[Tensor], size: int) -> list[Batch]:
    """Songs of about one length together, so that there is little behind their ends."""
    found = []
    songs = sorted(songs, key=len)
    for first in range(0, len(songs), size):
        chosen = songs[first : first + size]
        lengths = torch.tensor([len(song) for song in chosen])
        found.append(Batch(nn.utils.rnn.pad_sequence(chosen, batch_first=True), lengths))
    return found


def train(model, songs: list[Batch], epochs: int, seed: int = 0) -> list[float]:
    """Maximize the likelihood of the parameters; returns the loss per time step of each epoch."""
    lr = 0.02 if model is neural else 0.1
    svi = SVI(model, guide, Adam({"lr": lr}), TraceEnum_ELBO(max_plate_nesting=1))
    order = torch.Generator().manual_seed(seed)
    steps = sum(batch.lengths.sum().item() for batch in songs)
    losses = []
    for epoch in range(epochs):
        chosen = torch.randperm(len(songs), generator=order).tolist()
        losses.append(sum(svi.step(*songs[place]) for place in chosen) / steps)
        if epoch % max(1, epochs // 10) == 0 or epoch == epochs - 1:
            print(f"  epoch {epoch + 1:3d}: loss per time step {losses[-1]:7.3f}")
    return losses


def log_likelihood(model, songs: list[Batch]) -> float:
    """The exact log-likelihood per time step: with all states summed out, the loss has no gap and no noise."""
    estimator = TraceEnum_ELBO(max_plate_nesting=1)
    steps = sum(batch.lengths.sum().item() for batch in songs)
    return -sum(estimator.loss(model, guide, *batch) for batch in songs) / steps


def independent_notes(songs: list[Tensor], held_out: list[Tensor]) -> float:
    """What is reached without any states: each note on as often as in the songs learned from."""
    learned = torch.cat(songs)
    law = dist.Bernoulli((learned.sum(0) + 0.5) / (len(learned) + 1.0))
    return law.log_prob(torch.cat(held_out)).sum(-1).mean().item()


def decode(model, song: Tensor) -> Tensor:
    """The most probable states of a song (Viterbi)."""
    found = infer_discrete(model, first_available_dim=-2, temperature=0)(song[None], torch.tensor([len(song)]))
    return torch.stack([state.squeeze() for state in found])


def draw_roll(path: Path, song: Tensor, decoded: dict[str, Tensor]) -> None:
    """The piano roll, and below it the states that each model hears."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # the backend is chosen first

    heights = [6] + [1] * len(decoded)
    figure, axes = plt.subplots(len(heights), 1, figsize=(11, 6), sharex=True, height_ratios=heights, squeeze=False)
    extent = (0, len(song), LOWEST, LOWEST + NOTES)
    axes[0, 0].imshow(song.T.tolist(), origin="lower", aspect="auto", cmap="Greys", interpolation="none", extent=extent)
    axes[0, 0].set(title="a held-out song, and the states decoded from it", ylabel="MIDI number")
    for axis, (name, states) in zip(axes[1:, 0], decoded.items(), strict=True):
        kinds = {state: place for place, state in enumerate(dict.fromkeys(states.tolist()))}
        row = [[kinds[state] for state in states.tolist()]]
        beside = (0, len(song), 0, 1)
        axis.imshow(row, aspect="auto", cmap="tab20", vmin=0, vmax=19, interpolation="none", extent=beside)
        axis.set(yticks=[])
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
    axes[-1, 0].set(xlabel="time step (a quarter)")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"saved {path.name}")


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Train each model, judge it by songs it has not seen, and draw what it hears; returns held-out figures."""
    parser = argparse.ArgumentParser(description="Hidden Markov models of polyphonic music.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="where the picture goes")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--songs", type=int, help="learn from and judge by so many songs at most")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options = parser.parse_args(arguments)
    learned, held_out = (songs[: options.songs] for songs in load())
    found = {"independent notes": independent_notes(learned, held_out)}
    decoded = {}
    for name in options.models:
        print(name)
        with aleator.ParamStore():
            train(MODELS[name], batches(learned, options.batch_size), options.epochs)
            found[name] = log_likelihood(MODELS[name], batches(held_out, options.batch_size))
            decoded[name] = decode(MODELS[name], held_out[0])
    print("held-out log-likelihood per time step")
    for name, value in found.items():
        print(f"  {name:>18} {value:8.3f}")
    draw_roll(options.folder / "hmm.png", held_out[0], decoded)
    return found


if __name__ == "__main__":
    main()
