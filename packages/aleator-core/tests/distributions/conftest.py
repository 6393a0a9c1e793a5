"""The table of distributions that every test of this folder runs over: the same arguments for ours and for torch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import aleator.distributions as dist

Maker = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Case:
    """One distribution with one set of arguments.

    ``arguments`` takes a function from nested lists to tensors (of a test's dtype) and returns keywords.
    """

    name: str
    form: str
    arguments: Callable[[Maker], dict[str, Any]]

    def keywords(self, dtype: torch.dtype = torch.float32, requires_grad: bool = False) -> dict[str, Any]:
        made = self.arguments(lambda values: torch.tensor(values, dtype=dtype))
        if requires_grad:
            made = {
                name: value.requires_grad_() if isinstance(value, Tensor) and value.is_floating_point() else value
                for name, value in made.items()
            }
        return made

    def ours(self, **overrides: Any) -> Any:
        return getattr(dist, self.name)(**{**self.keywords(), **overrides})

    def theirs(self, **overrides: Any) -> Any:
        return getattr(torch.distributions, self.name)(**{**self.keywords(), **overrides}, validate_args=False)

    def pair(self, dtype: torch.dtype = torch.float32, requires_grad: bool = False) -> tuple[Any, Any]:
        keywords = self.keywords(dtype, requires_grad)
        return self.ours(**keywords), self.theirs(**keywords)

    def __str__(self) -> str:
        return f"{self.name}-{self.form}"


def _elementwise(name: str, first: str, second: str) -> list[Case]:
    """Location and scale, or any two arguments that may be anything positive, in every form of argument."""
    return [
        Case(name, "tensors", lambda t: {first: t([0.5, 1.2, 3.0]), second: t([1.5, 0.4, 2.2])}),
        Case(name, "broadcast", lambda t: {first: t([[0.5], [1.2]]), second: t([1.5, 0.4, 2.2])}),
        Case(name, "number-second", lambda t: {first: t([0.5, 1.2]), second: 0.7}),
        Case(name, "number-first", lambda t: {first: 0.7, second: t([0.5, 1.2])}),
        Case(name, "numbers", lambda t: {first: 1.3, second: 0.6}),
    ]


def _single(name: str, argument: str) -> list[Case]:
    return [
        Case(name, "tensor", lambda t: {argument: t([0.3, 0.6, 0.9])}),
        Case(name, "number", lambda t: {argument: 0.35}),
    ]


def _binary(name: str, **others: Any) -> list[Case]:
    return [
        Case(name, "probs", lambda t: {**others, "probs": t([0.2, 0.5, 0.8])}),
        Case(name, "logits", lambda t: {**others, "logits": t([-1.2, 0.3, 2.0])}),
    ]


def _categories(name: str, **others: Any) -> list[Case]:
    return [
        Case(name, "probs", lambda t: {**others, "probs": t([[0.2, 0.5, 0.3], [1.0, 3.0, 4.0]])}),
        Case(name, "logits", lambda t: {**others, "logits": t([[-1.2, 0.3, 2.0], [0.5, 0.1, 3.0]])}),
        Case(name, "vector", lambda t: {**others, "probs": t([0.2, 0.5, 0.3])}),
    ]


_TRIL = [[1.2, 0.0], [0.4, 0.8]]
_COVARIANCE = [[1.5, 0.3], [0.3, 0.9]]

CASES = [
    *_elementwise("Normal", "loc", "scale"),
    *_elementwise("LogNormal", "loc", "scale"),
    *_elementwise("Cauchy", "loc", "scale"),
    *_elementwise("Laplace", "loc", "scale"),
    *_elementwise("Gumbel", "loc", "scale"),
    *_elementwise("Gamma", "concentration", "rate"),
    *_elementwise("InverseGamma", "concentration", "rate"),
    *_elementwise("Beta", "concentration1", "concentration0"),
    *_elementwise("Kumaraswamy", "concentration1", "concentration0"),
    *_elementwise("Weibull", "scale", "concentration"),
    *_elementwise("Pareto", "scale", "alpha"),
    *_elementwise("FisherSnedecor", "df1", "df2"),
    *_elementwise("VonMises", "loc", "concentration")[:3],
    *_single("HalfNormal", "scale"),
    *_single("HalfCauchy", "scale"),
    *_single("Exponential", "rate"),
    *_single("Chi2", "df"),
    *_single("Poisson", "rate"),
    *_single("Bernoulli", "probs"),
    *_single("Bernoulli", "logits"),
    *_single("ContinuousBernoulli", "probs"),
    *_single("ContinuousBernoulli", "logits"),
    *_single("Geometric", "probs"),
    *_single("Geometric", "logits"),
    Case("Uniform", "tensors", lambda t: {"low": t([0.5, 1.2]), "high": t([1.5, 4.0])}),
    Case("Uniform", "broadcast", lambda t: {"low": t([[0.5], [1.2]]), "high": t([1.5, 4.0])}),
    Case("Uniform", "numbers", lambda t: {"low": -1.0, "high": 2.0}),
    Case("Uniform", "number-low", lambda t: {"low": 0.0, "high": t([0.5, 2.0])}),
    Case("Uniform", "number-high", lambda t: {"low": t([0.5, 2.0]), "high": 3.0}),
    Case("StudentT", "tensors", lambda t: {"df": t([3.5, 5.0]), "loc": t([0.5, 1.2]), "scale": t([0.4, 2.0])}),
    Case("StudentT", "df-number", lambda t: {"df": 4.0, "loc": t([0.5, 1.2]), "scale": t([[0.4], [2.0]])}),
    Case("StudentT", "df-only", lambda t: {"df": t([0.5, 1.5, 4.0])}),
    Case(
        "GeneralizedPareto",
        "tensors",
        lambda t: {"loc": t([0.5, 1.0, 0.0]), "scale": t([1.0, 2.0, 0.5]), "concentration": t([0.3, -0.4, 0.0])},
    ),
    Case("GeneralizedPareto", "numbers", lambda t: {"loc": 0.0, "scale": 2.0, "concentration": 0.1}),
    *_binary("Binomial", total_count=5),
    Case("Binomial", "counts", lambda t: {"total_count": torch.tensor([3, 5]), "probs": t([[0.2], [0.5]])}),
    *_binary("NegativeBinomial", total_count=3),
    Case("NegativeBinomial", "counts", lambda t: {"total_count": t([0.0, 5.0]), "probs": t([[0.2], [0.5]])}),
    Case("RelaxedBernoulli", "probs", lambda t: {"temperature": t(0.7), "probs": t([0.2, 0.5, 0.8])}),
    Case("RelaxedBernoulli", "logits", lambda t: {"temperature": t(0.7), "logits": t([-1.2, 0.3])}),
    *_categories("Categorical"),
    *_categories("OneHotCategorical"),
    *_categories("OneHotCategoricalStraightThrough"),
    *_categories("Multinomial", total_count=4),
    Case("RelaxedOneHotCategorical", "probs", lambda t: {"temperature": t(0.7), "probs": t([0.2, 0.5, 0.3])}),
    Case(
        "RelaxedOneHotCategorical", "logits", lambda t: {"temperature": t(0.7), "logits": t([[0.2, 0.5], [0.3, 1.0]])}
    ),
    Case("Dirichlet", "vector", lambda t: {"concentration": t([0.5, 1.2, 3.0])}),
    Case("Dirichlet", "batch", lambda t: {"concentration": t([[0.5, 1.2, 3.0], [2.0, 2.0, 2.0]])}),
    Case("LogisticNormal", "vector", lambda t: {"loc": t([0.5, -1.2]), "scale": t([0.4, 1.0])}),
    Case("LogisticNormal", "number", lambda t: {"loc": 0.3, "scale": 0.8}),
    Case("MultivariateNormal", "tril", lambda t: {"loc": t([0.5, 1.0]), "scale_tril": t(_TRIL)}),
    Case(
        "MultivariateNormal", "covariance", lambda t: {"loc": t([[0.5, 1.0]] * 3), "covariance_matrix": t(_COVARIANCE)}
    ),
    Case("MultivariateNormal", "precision", lambda t: {"loc": t([0.5, 1.0]), "precision_matrix": t([_COVARIANCE] * 2)}),
    Case(
        "LowRankMultivariateNormal",
        "batch",
        lambda t: {
            "loc": t([[0.5, 1.0, -0.2]] * 2),
            "cov_factor": t([[0.3], [0.6], [-0.4]]),
            "cov_diag": t([0.5, 1.0, 0.8]),
        },
    ),
    Case("LKJCholesky", "number", lambda t: {"dim": 3, "concentration": 1.5}),
    Case("LKJCholesky", "tensor", lambda t: {"dim": 3, "concentration": t([0.5, 2.0])}),
    Case("Wishart", "covariance", lambda t: {"df": t([3.5, 4.0]), "covariance_matrix": t(_COVARIANCE)}),
    Case("Wishart", "precision", lambda t: {"df": 3.0, "precision_matrix": t(_COVARIANCE)}),
    Case("Wishart", "tril", lambda t: {"df": 3.0, "scale_tril": t(_TRIL)}),
]

_SKIPPED = {"GeneralizedPareto"} if not hasattr(torch.distributions, "GeneralizedPareto") else set()
_OTHER_PATHS = {"logits", "numbers", "number", "precision", "covariance", "broadcast"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test the rows that it asks for.

    ``case``: every row; ``first_case``: one per distribution; ``varied_case``: one per distribution and code path.
    """
    cases = [case for case in CASES if case.name not in _SKIPPED]
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases, ids=str)
    if "first_case" in metafunc.fixturenames:
        firsts = {case.name: case for case in reversed(cases)}
        metafunc.parametrize("first_case", firsts.values(), ids=str)
    if "varied_case" in metafunc.fixturenames:
        paths = {(case.name, case.form if case.form in _OTHER_PATHS else "first"): case for case in reversed(cases)}
        metafunc.parametrize("varied_case", paths.values(), ids=str)
