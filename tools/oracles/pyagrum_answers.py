"""The answers of pyAgrum's lazy propagation in a junction tree."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pyagrum

from oracles.answers import Answers
from oracles.bayesian_network import conditional_tables
from oracles.bif import Network

__all__ = ["answers_by_pyagrum"]


def answers_by_pyagrum(network: Network, evidence: Mapping[str, int]) -> Answers:
    """Return the probability of the evidence and all marginals; it has no most probable values."""
    propagation = pyagrum.LazyPropagation(_build(network))
    propagation.setEvidence(dict(evidence))
    propagation.makeInference()
    found = {name: propagation.posterior(name).tolist() for name in network.nodes if name not in evidence}
    return Answers(math.log(propagation.evidenceProbability()), found, None)


def _build(network: Network) -> pyagrum.BayesNet:
    sizes = network.sizes()
    model = pyagrum.BayesNet()
    for name, size in sizes.items():
        model.add(pyagrum.RangeVariable(name, name, 0, size - 1))
    for name, table in conditional_tables(network).items():
        parents = network.nodes[name].parents
        for parent in parents:
            model.addArc(parent, name)
        target = model.cpt(name)
        index = pyagrum.Instantiation(target)
        for place, number in enumerate(table.flatten().tolist()):
            for each in reversed((*parents, name)):
                place, value = divmod(place, sizes[each])
                index.chgVal(each, value)
            target.set(index, number)
    return model
