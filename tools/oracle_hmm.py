"""Hold a hidden Markov model of Bach's chorales to hmmlearn: likelihood, states given the data, Viterbi's sequence.

    ALEATOR_DATA=<folder with jsb-chorales-quarter.json> python tools/oracle_hmm.py

Needs hmmlearn beside aleator-enum-discrete. "kernel" hands tables to the chain's functions; "model" is an ordinary
function that ``TraceEnum_ELBO`` sums out and ``infer_discrete`` decodes, the sequences of a row in one masked batch.
Prints a markdown table of the largest differences; fails where one is over 1e-9. A sequence of states may differ only
where it is equally probable.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from aleator.infer import TraceEnum_ELBO, config_enumerate, infer_discrete
from aleator_enum_discrete.engine.chain_maximum import chain_maximum
from aleator_enum_discrete.engine.chains import chain_log_sum, chain_marginals
from oracles.hidden_markov import BernoulliReference, Parameters, chorales, model, parameters

TOLERANCE = 1e-9


class Answers(NamedTuple):
    """For all sequences: the sum of log likelihoods, the states' probabilities, the most probable states."""

    log_likelihood: float
    marginals: list[Tensor]
    states: list[list[int]]


def by_hmmlearn(given: Parameters, sequences: Sequence[Tensor]) -> Answers:
    """Ask hmmlearn for each sequence."""
    reference = BernoulliReference(given)
    total, marginals, states = 0.0, [], []
    for sequence in sequences:
        data = sequence.numpy()
        likelihood, probabilities = reference.score_samples(data)
        total += float(likelihood)
        marginals.append(torch.tensor(probabilities))
        states.append(reference.decode(data)[1].tolist())
    return Answers(total, marginals, states)


def by_kernel(given: Parameters, sequences: Sequence[Tensor]) -> Answers:
    """Ask the chain's functions for each sequence."""
    total, marginals, states = 0.0, [], []
    for sequence in sequences:
        observation = emissions(given, sequence)
        observation[0] += given.start.log()
        transition = given.transition.log().unsqueeze(0)
        total += chain_log_sum(transition, observation).item()
        marginals.append(chain_marginals(transition, observation)[0])
        states.append(chain_maximum(transition, observation)[1].tolist())
    return Answers(total, marginals, states)


def by_model(given: Parameters, sequences: Sequence[Tensor]) -> Answers:
    """Ask the estimator for all sequences at once."""
    batch = pad_sequence(list(sequences), batch_first=True)
    lengths = torch.tensor([len(each) for each in sequences])
    program = config_enumerate(model)
    estimator = TraceEnum_ELBO(max_plate_nesting=1)
    total = -estimator.loss(program, lambda *args: None, given, batch, lengths)
    found = estimator.compute_marginals(program, lambda *args: None, given, batch, lengths)
    probabilities = torch.stack([found[f"state_{t}"].probs for t in range(batch.shape[1])], 1)
    decoded = torch.stack(infer_discrete(program, first_available_dim=-2, temperature=0)(given, batch, lengths), 1)
    return Answers(
        total,
        [each[:length] for each, length in zip(probabilities, lengths.tolist(), strict=True)],
        [each[:length].tolist() for each, length in zip(decoded, lengths.tolist(), strict=True)],
    )


def emissions(given: Parameters, sequence: Tensor) -> Tensor:
    """Return the log probability of each step's notes in each state."""
    return sequence @ given.notes.log().T + (1 - sequence) @ torch.log1p(-given.notes).T


def score(given: Parameters, sequence: Tensor, states: list[int]) -> float:
    """Return the log probability of states and notes together, term by term."""
    terms = emissions(given, sequence)
    total = given.start[states[0]].log() + sum(terms[t, state] for t, state in enumerate(states))
    for previous, state in itertools.pairwise(states):
        total = total + given.transition[previous, state].log()
    return float(total)


def row(way: str, given: Parameters, sequences: Sequence[Tensor]) -> tuple[str, bool]:
    """Return a line of the table, and whether it holds."""
    start = time.perf_counter()
    ours = (by_kernel if way == "kernel" else by_model)(given, sequences)
    seconds = time.perf_counter() - start
    theirs = by_hmmlearn(given, sequences)
    likelihood = abs(ours.log_likelihood - theirs.log_likelihood)
    marginals = max((a - b).abs().max().item() for a, b in zip(ours.marginals, theirs.marginals, strict=True))
    maximum = max(
        abs(score(given, sequence, a) - score(given, sequence, b))
        for sequence, a, b in zip(sequences, ours.states, theirs.states, strict=True)
    )
    equal = sum(a == b for a, b in zip(ours.states, theirs.states, strict=True))
    cells = [way, len(sequences), sum(map(len, sequences)), len(given.start)]
    cells += [f"{each:.1e}" for each in (likelihood, marginals, maximum)]
    cells += [f"{equal} of {len(sequences)}", f"{seconds:.2f}"]
    return f"| {' | '.join(map(str, cells))} |", max(likelihood, marginals, maximum) <= TOLERANCE


def main() -> int:
    """Print the table; 1 where a line does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, nargs="*", default=[2, 8, 16, 32])
    parser.add_argument("--by", nargs="*", default=["kernel", "model"], choices=["kernel", "model"])
    options = parser.parse_args()
    sequences, train = chorales("test"), chorales("train")
    if sequences is None or train is None:
        print("skipped: ALEATOR_DATA names no folder with the chorales")
        return 0
    torch.set_num_threads(1)
    by_length = sorted(sequences, key=len)
    print(
        "| way | sequences | steps | states | log likelihood | states' probabilities | Viterbi score "
        "| equal sequences of states | seconds |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        flush=True,
    )
    failed = False
    for num_states in options.states:
        given = parameters(num_states, train)
        for way in options.by:
            for some in ([by_length[-1]], by_length[::10], by_length):
                line, holds = row(way, given, some)
                failed = failed or not holds
                print(line, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
