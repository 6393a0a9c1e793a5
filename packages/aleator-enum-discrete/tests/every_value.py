"""A program's objective by running it once for every assignment of its discrete sites: what enumeration is held to."""

import itertools
import math

import torch

from aleator import handlers
from aleator.scoring import score_site


def shapes(program, names, *args):
    """The full batch shape of each named site in a plain run."""
    trace = handlers.trace(program).get_trace(*args)
    return {name: tuple(trace.nodes[name].fn.batch_shape) for name in names}


def assignments(sizes, shapes_of):
    """Yield every value of every element of every site."""
    names = list(sizes)
    ranges = [itertools.product(range(sizes[name]), repeat=math.prod(shapes_of[name])) for name in names]
    for chosen in itertools.product(*ranges):
        yield {name: torch.tensor(values).reshape(shapes_of[name]) for name, values in zip(names, chosen, strict=True)}


def log_joint(program, values, *args, unmasked=(), sites=None):
    """The log density of a run on given values; sites in ``unmasked`` count their law under a mask too."""
    typed = {}
    probe = handlers.trace(program).get_trace(*args)
    for name, value in values.items():
        typed[name] = value.to(probe.nodes[name].value.dtype)
    trace = handlers.trace(handlers.condition(program, data=typed)).get_trace(*args)
    total = torch.zeros((), dtype=torch.float64)
    for name, site in trace.nodes.items():
        if site.type != "sample" or (sites is not None and name not in sites):
            continue
        site.is_observed = site.is_observed and name not in values
        raw, masked = score_site(site)
        if site.mask is False and name in unmasked:
            raw = site.fn.log_prob(site.value)
        total = total + (raw if name in unmasked else masked).sum()
    return total


def log_evidence(model, sizes, *args):
    """The logarithm of the sum over all assignments of a model's sites (no plate may be subsampled or scaled)."""
    found = shapes(model, sizes, *args)
    terms = [log_joint(model, values, *args, unmasked=tuple(sizes)) for values in assignments(sizes, found)]
    return torch.stack(terms).logsumexp(0)


def posterior(model, sizes, *args):
    """Every assignment with its posterior probability."""
    found = shapes(model, sizes, *args)
    every = list(assignments(sizes, found))
    logs = torch.stack([log_joint(model, values, *args, unmasked=tuple(sizes)) for values in every])
    return every, logs.softmax(0), logs
