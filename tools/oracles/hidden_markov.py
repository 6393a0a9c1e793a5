"""Chorales, hidden Markov models of their notes, and what hmmlearn says about them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy
import torch
from hmmlearn.base import BaseHMM
from numpy.typing import NDArray
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator.handlers import mask
from aleator.ops import Vindex

__all__ = ["BernoulliReference", "Parameters", "chorales", "model", "parameters"]

LOWEST, NOTES = 43, 54  # MIDI numbers that occur in the chorales
FILE = "jsb-chorales-quarter.json"


@final
@dataclass(frozen=True, slots=True)
class Parameters:
    """Probabilities of a hidden Markov model: ``(K,)``, ``(K, K)`` from row to column, ``(K, notes)``."""

    start: Tensor
    transition: Tensor
    notes: Tensor


def chorales(split: str) -> list[Tensor] | None:
    """Return the sequences of a split, ``(T, notes)`` of zeros and ones; ``None`` where the data are absent."""
    path = Path(os.environ.get("ALEATOR_DATA", "")) / FILE
    if "ALEATOR_DATA" not in os.environ or not path.exists():
        return None
    found = []
    for chords in json.loads(path.read_text(encoding="utf-8"))[split]:
        sequence = torch.zeros(len(chords), NOTES, dtype=torch.float64)
        for t, chord in enumerate(chords):
            sequence[t, [note - LOWEST for note in chord if note >= 0]] = 1.0
        found.append(sequence)
    return found


def parameters(num_states: int, sequences: list[Tensor]) -> Parameters:
    """Return parameters of the data's kind: each state has the notes of some chords, and tends to stay."""
    source = torch.Generator().manual_seed(num_states)
    chords = torch.cat(sequences)
    chosen = torch.randint(len(chords), (num_states, 20), generator=source)
    notes = (chords[chosen].sum(1) + 0.3) / 20.6
    start = torch.rand(num_states, dtype=torch.float64, generator=source) + 0.1
    transition = torch.rand(num_states, num_states, dtype=torch.float64, generator=source) ** 3 + 1e-3
    transition += 0.5 * torch.eye(num_states, dtype=torch.float64)
    return Parameters(start / start.sum(), transition / transition.sum(-1, keepdim=True), notes)


def model(given: Parameters, sequences: Tensor, lengths: Tensor) -> list[Tensor]:
    """Sample ``(N, T, notes)`` sequences of unequal length, and return the state at each step."""
    transition, notes = Vindex(given.transition), Vindex(given.notes)
    states: list[Tensor] = []
    with aleator.plate("sequences", sequences.shape[0], dim=-1):
        for t in aleator.markov(range(sequences.shape[1])):
            with mask(mask=lengths > t):
                probs = transition[states[-1], :] if states else given.start
                states.append(aleator.sample(f"state_{t}", dist.Categorical(probs)))
                chord = dist.Bernoulli(notes[states[-1], :]).to_event(1)
                aleator.sample(f"notes_{t}", chord, obs=sequences[:, t])
    return states


class BernoulliReference(BaseHMM):  # type: ignore[misc]  # hmmlearn has no types
    """hmmlearn's algorithms with a Bernoulli for each note in each state."""

    def __init__(self, given: Parameters) -> None:
        super().__init__(n_components=len(given.start), init_params="", params="", implementation="log")
        self.startprob_ = numpy.asarray(given.start)
        self.transmat_ = numpy.asarray(given.transition)
        self.given = numpy.asarray(given.notes)

    def _compute_log_likelihood(self, sequence: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
        found = sequence @ numpy.log(self.given).T + (1 - sequence) @ numpy.log1p(-self.given).T
        return numpy.asarray(found)
