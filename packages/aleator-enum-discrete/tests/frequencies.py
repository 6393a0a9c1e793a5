"""Whether draws have the frequencies that they should have."""

import math

import torch


def chi_square(counts, probabilities):
    """Pearson's statistic and its 1 - 1e-5 quantile (Wilson and Hilferty 1931)."""
    expected = probabilities * counts.sum()
    rare = expected < 5
    observed = torch.cat([counts[~rare], counts[rare].sum().reshape(1)])
    expected = torch.cat([expected[~rare], expected[rare].sum().reshape(1)])
    observed, expected = observed[expected > 0], expected[expected > 0]
    freedom = max(len(expected) - 1, 1)
    statistic = ((observed - expected) ** 2 / expected).sum().item()
    return statistic, freedom * (1 - 2 / (9 * freedom) + 4.265 * math.sqrt(2 / (9 * freedom))) ** 3


def joint_counts(draws, order, shape):
    """How often each joint state was drawn."""
    index = torch.zeros(draws[0].shape, dtype=torch.long)
    for value, size in zip(draws, shape, strict=True):
        index = index * size + value
    return torch.bincount(index, minlength=math.prod(shape)).double()
