"""Aleator's answers: by tables handed to the numerical engine, and by a model handed to the estimator."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from aleator.handlers import condition
from aleator.infer import TraceEnum_ELBO, config_enumerate, infer_discrete
from aleator_enum_discrete.engine.assignments import maximize
from aleator_enum_discrete.engine.contraction import contract
from aleator_enum_discrete.engine.marginals import marginalize
from oracles.answers import Answers
from oracles.bayesian_network import joint_log_prob, model_of, tables_of
from oracles.bif import Network

__all__ = ["answers_by_estimator", "answers_by_tables"]


def answers_by_tables(network: Network, evidence: Mapping[str, int]) -> Answers:
    """Return the answers of ``contract``, ``marginalize`` and ``maximize``."""
    tables, domain = tables_of(network, evidence)
    total = contract(tables, domain).item()
    found = marginalize(tables, domain).variables
    best = maximize(tables, domain)
    values = {name: int(table.values) for name, table in best.values.items()}
    reached = joint_log_prob(network, {**values, **evidence})
    assert abs(reached - best.total.item()) < 1e-9, "the values do not have the log probability that is claimed"
    return Answers(total, {name: table.values.tolist() for name, table in found.items()}, reached)


def answers_by_estimator(network: Network, evidence: Mapping[str, int]) -> Answers:
    """Return the answers of ``TraceEnum_ELBO`` and ``infer_discrete`` on a model with its observations."""
    model = config_enumerate(condition(model_of(network), {name: torch.tensor(i) for name, i in evidence.items()}))
    estimator = TraceEnum_ELBO(max_plate_nesting=0)
    log_evidence = -estimator.loss(model, _nothing)
    found = {}
    for name, marginal in estimator.compute_marginals(model, _nothing).items():
        support = torch.arange(len(network.nodes[name].states))
        found[name] = marginal.log_prob(support).exp().tolist()
    best = infer_discrete(model, first_available_dim=-1, temperature=0)()
    values = {name: int(value) for name, value in best.items()}
    assert all(values[name] == value for name, value in evidence.items())
    return Answers(log_evidence, found, joint_log_prob(network, values))


def _nothing() -> None:
    """A guide for models whose latent variables are all summed out."""
