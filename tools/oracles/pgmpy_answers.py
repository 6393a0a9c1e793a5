"""The answers of pgmpy's variable elimination."""

from __future__ import annotations

import gzip
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import pgmpy
from pgmpy.factors.discrete import TabularCPD
from pgmpy.inference import VariableElimination
from pgmpy.models import DiscreteBayesianNetwork
from pgmpy.readwrite import BIFReader

from oracles.answers import Answers
from oracles.bayesian_network import conditional_tables, joint_log_prob
from oracles.bif import Network

__all__ = ["NETWORKS", "answers_by_pgmpy", "largest_reading_difference"]

NETWORKS = Path(pgmpy.__file__).parent / "utils" / "example_models"
JOINT_STATES = 2**18  # pgmpy finds the most probable values in one table over all variables


def answers_by_pgmpy(network: Network, evidence: Mapping[str, int]) -> Answers:
    """Return all answers; without a maximum where its one table over all variables would be too large."""
    model = _build(network)
    observed = {name: network.nodes[name].states[value] for name, value in evidence.items()}
    free = [name for name in network.nodes if name not in evidence]
    conditional = VariableElimination(model)
    found = {}
    for name in free:
        answer = conditional.query([name], evidence=observed, show_progress=False)
        order = [answer.get_state_no(name, state) for state in network.nodes[name].states]
        found[name] = [float(answer.values[place]) for place in order]
    # A Markov network's answers are not normalized: their sum is the probability of the evidence.
    joint = VariableElimination(model.to_markov_model()).query(free[:1], evidence=observed, show_progress=False)
    return Answers(math.log(float(joint.values.sum())), found, _log_maximum(network, evidence, conditional, observed))


def largest_reading_difference(network: Network, path: Path) -> float:
    """Return the largest difference of a network's numbers, as they are written, to those that pgmpy reads."""
    theirs = BIFReader(string=gzip.decompress(path.read_bytes()).decode("utf-8")).get_model(state_name_type=str)
    largest = 0.0
    assert set(theirs.nodes()) == set(network.nodes)
    for name, node in network.nodes.items():
        table = theirs.get_cpds(name)
        assert set(table.variables) == {name, *node.parents}
        for states, row in zip(_combinations(network, node.parents), node.rows, strict=True):
            for state, number in zip(node.states, row, strict=True):
                other = table.get_value(**dict(zip(node.parents, states, strict=True)), **{name: state})
                largest = max(largest, abs(number - float(other)))
    return largest


def _combinations(network: Network, parents: tuple[str, ...]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for parent in parents:
        found = [(*each, state) for each in found for state in network.nodes[parent].states]
    return found


def _build(network: Network) -> DiscreteBayesianNetwork:
    logging.getLogger("pgmpy").setLevel(logging.ERROR)
    sizes = network.sizes()
    model = DiscreteBayesianNetwork()
    model.add_nodes_from(network.nodes)
    model.add_edges_from((parent, name) for name, node in network.nodes.items() for parent in node.parents)
    for name, table in conditional_tables(network).items():
        parents = network.nodes[name].parents
        model.add_cpds(
            TabularCPD(
                name,
                sizes[name],
                table.reshape(-1, sizes[name]).T.tolist(),
                evidence=list(parents) or None,
                evidence_card=[sizes[parent] for parent in parents] or None,
                state_names={each: list(network.nodes[each].states) for each in (name, *parents)},
            )
        )
    return model


def _log_maximum(
    network: Network, evidence: Mapping[str, int], conditional: VariableElimination, observed: Mapping[str, str]
) -> float | None:
    free = [name for name in network.nodes if name not in evidence]
    if math.prod(network.sizes()[name] for name in free) > JOINT_STATES:
        return None
    found = conditional.map_query(free, evidence=dict(observed), show_progress=False)
    values = {name: network.nodes[name].states.index(str(found[name])) for name in free}
    return joint_log_prob(network, {**values, **evidence})
