"""Hold exact sums, marginals and maxima on published Bayesian networks to pgmpy, pyAgrum and a plain elimination.

    python tools/oracle_networks.py
    python tools/oracle_networks.py --by tables alarm munin1

Needs pgmpy and pyagrum beside aleator-enum-discrete; the networks are those that pgmpy ships. Each is asked with some
variables observed, their values drawn from the network: an eighth of all, a third of all, all leaves. Prints a markdown
table of the largest differences; fails where one is over 1e-9.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import final

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # noqa: TID251  # a script's own process; pgmpy warns of its own modules
    from oracles.pgmpy_answers import NETWORKS, answers_by_pgmpy, largest_reading_difference

from aleator_enum_discrete.engine.contraction import plan_contraction
from oracles.aleator_answers import answers_by_estimator, answers_by_tables
from oracles.answers import Answers
from oracles.bayesian_network import draw_values, tables_of
from oracles.bif import Network, read_network
from oracles.bucket_elimination import answers_by_buckets
from oracles.pyagrum_answers import answers_by_pyagrum

TOLERANCE = 1e-9
DEFAULT = (
    "cancer earthquake survey asia sachs child insurance water alarm hailfinder hepar2 win95pts pathfinder andes "
    "diabetes pigs"
).split()
LARGE = 100  # variables: from here on pgmpy and the plain elimination are asked for sums and maxima alone
WAYS: dict[str, Callable[[Network, Mapping[str, int]], Answers]] = {
    "tables": answers_by_tables,
    "estimator": answers_by_estimator,
}


@final
@dataclass(slots=True)
class Row:
    """What the table says of one network."""

    name: str
    variables: int
    largest: int = 0
    evidence: float = 0.0
    marginals: float = 0.0
    maximum: float = 0.0
    seconds: float = 0.0

    def compare(self, ours: Answers, theirs: Answers) -> None:
        """Take in the differences to one reference."""
        if theirs.log_evidence is not None and ours.log_evidence is not None:
            self.evidence = max(self.evidence, abs(ours.log_evidence - theirs.log_evidence))
        if theirs.log_maximum is not None and ours.log_maximum is not None:
            self.maximum = max(self.maximum, abs(ours.log_maximum - theirs.log_maximum))
        assert not theirs.marginals or theirs.marginals.keys() == ours.marginals.keys()
        for name, expected in theirs.marginals.items():
            differences = (abs(one - other) for one, other in zip(ours.marginals[name], expected, strict=True))
            self.marginals = max(self.marginals, *differences)

    def __str__(self) -> str:
        errors = " | ".join(f"{each:.1e}" for each in (self.evidence, self.marginals, self.maximum))
        return f"| {self.name} | {self.variables} | {self.largest:,} | {errors} | {self.seconds:.2f} |"


def observations(network: Network) -> Iterator[dict[str, int]]:
    """Yield values to observe: of an eighth, of a third of the variables, of all leaves."""
    generator = torch.Generator().manual_seed(1)
    names = list(network.nodes)
    inner = {parent for node in network.nodes.values() for parent in node.parents}
    for count in (max(1, len(names) // 8), len(names) // 3):
        values = draw_values(network, generator)
        yield {names[i]: values[names[i]] for i in torch.randperm(len(names), generator=generator)[:count].tolist()}
    values = draw_values(network, generator)
    yield {name: value for name, value in values.items() if name not in inner}


def references(network: Network, evidence: Mapping[str, int]) -> Iterator[Answers]:
    """Yield what others say."""
    small = len(network.nodes) < LARGE
    yield answers_by_pyagrum(network, evidence)
    yield answers_by_buckets(network, evidence, marginals=small)
    if small:
        yield answers_by_pgmpy(network, evidence)


def compare(name: str, way: str) -> Row:
    """Return the row of one network."""
    path = NETWORKS / f"{name}.bif.gz"
    network = read_network(path)
    if len(network.nodes) < LARGE:
        assert largest_reading_difference(network, path) == 0.0, f"{name} is read otherwise than pgmpy reads it"
    row = Row(name, len(network.nodes))
    for evidence in observations(network):
        cost = plan_contraction(*tables_of(network, evidence)).cost
        row.largest = max(row.largest, cost.largest)
        start = time.perf_counter()
        ours = WAYS[way](network, evidence)
        row.seconds += time.perf_counter() - start
        for theirs in references(network, evidence):
            row.compare(ours, theirs)
    return row


def main() -> int:
    """Print the table; 1 where a difference is over the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=DEFAULT)
    parser.add_argument("--by", choices=[*WAYS], default="estimator", help="tables of the engine, or a model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | variables | largest table | log P(evidence) | marginals | most probable values | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    failed = False
    for name in options.networks:
        row = compare(name, options.by)
        failed = failed or not max(row.evidence, row.marginals, row.maximum) <= TOLERANCE
        print(row, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
