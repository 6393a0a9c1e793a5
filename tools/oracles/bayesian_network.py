"""A network as tables for the numerical engine, and as a model: an ordinary function that samples its variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator.ops import Vindex
from aleator_enum_discrete.engine.tables import Domain, Table, Variable
from oracles.bif import Network

__all__ = ["conditional_tables", "draw_values", "joint_log_prob", "model_of", "tables_of"]


def conditional_tables(network: Network, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Return each variable's probabilities, over its parents in their order and then itself; rows sum to 1."""
    sizes = network.sizes()
    found = {}
    for name, node in network.nodes.items():
        rows = torch.tensor(node.rows, dtype=torch.float64)
        rows = rows / rows.sum(-1, keepdim=True)
        found[name] = rows.reshape([sizes[each] for each in (*node.parents, name)]).to(dtype)
    return found


def tables_of(network: Network, evidence: Mapping[str, int]) -> tuple[list[Table], Domain]:
    """Return the logarithms of the tables with what is observed put in, and the variables that are left."""
    tables = []
    for name, values in conditional_tables(network).items():
        names = (*network.nodes[name].parents, name)
        values = values.log()[tuple(evidence.get(each, slice(None)) for each in names)]
        tables.append(Table(values, tuple(each for each in names if each not in evidence)))
    free = (Variable(name, size) for name, size in network.sizes().items() if name not in evidence)
    return tables, Domain(tuple(free))


def model_of(network: Network, dtype: torch.dtype = torch.float64) -> Callable[[], dict[str, Tensor]]:
    """Return a model that samples every variable given its parents, and returns their values by name."""
    tables = {name: Vindex(values) for name, values in conditional_tables(network, dtype).items()}

    def model() -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for name, node in network.nodes.items():
            probs = tables[name][(*(values[parent] for parent in node.parents), slice(None))]
            values[name] = aleator.sample(name, dist.Categorical(probs))
        return values

    return model


def draw_values(network: Network, generator: torch.Generator) -> dict[str, int]:
    """Return a value for every variable, drawn from the network."""
    values: dict[str, int] = {}
    for name, table in conditional_tables(network).items():
        row = table[tuple(values[parent] for parent in network.nodes[name].parents)]
        values[name] = int(torch.multinomial(row, 1, generator=generator))
    return values


def joint_log_prob(network: Network, values: Mapping[str, int]) -> float:
    """Return the log probability of a value for every variable."""
    total = 0.0
    for name, table in conditional_tables(network).items():
        total += table[tuple(values[each] for each in (*network.nodes[name].parents, name))].log().item()
    return total
