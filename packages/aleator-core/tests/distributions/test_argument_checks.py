"""What a constructor refuses: shapes at once, numbers at once, tensors through the run's one check."""

from __future__ import annotations

import numbers

import pytest
import torch

import aleator.distributions as dist
from aleator import validation
from aleator.errors import ParameterError
from aleator.settings import validation_enabled

BAD = [
    ("Normal", {"loc": torch.zeros(2), "scale": torch.tensor([1.0, -1.0])}, "scale"),
    ("Normal", {"loc": torch.tensor([0.0, torch.nan]), "scale": 1.0}, "loc"),
    ("LogNormal", {"loc": 0.0, "scale": torch.tensor(0.0)}, "scale"),
    ("Gamma", {"concentration": torch.tensor([-1.0]), "rate": 1.0}, "concentration"),
    ("Exponential", {"rate": torch.tensor([0.0])}, "rate"),
    ("Uniform", {"low": torch.tensor([0.0, 2.0]), "high": torch.tensor([1.0, 1.0])}, "high"),
    ("Uniform", {"low": torch.tensor([2.0]), "high": 1.0}, "low"),
    ("Uniform", {"low": torch.zeros(2, 1), "high": torch.tensor([1.0, -1.0])}, "high"),
    ("Bernoulli", {"probs": torch.tensor([0.5, 1.5])}, "probs"),
    ("Bernoulli", {"logits": torch.tensor([torch.nan])}, "logits"),
    ("Geometric", {"probs": torch.tensor([0.0])}, "probs"),
    ("Binomial", {"total_count": torch.tensor([1.5]), "probs": 0.5}, "total_count"),
    ("Poisson", {"rate": torch.tensor([-0.5])}, "rate"),
    ("Categorical", {"probs": torch.tensor([0.5, -0.5])}, "probs"),
    ("Categorical", {"probs": torch.tensor([[0.5, 0.5], [0.0, 0.0]])}, "probs"),
    ("Categorical", {"logits": torch.tensor([0.0, torch.inf])}, "logits"),
    ("Categorical", {"logits": torch.full((2,), -torch.inf)}, "logits"),
    ("OneHotCategorical", {"probs": torch.tensor([0.5, torch.nan])}, "probs"),
    ("Multinomial", {"total_count": 2, "probs": torch.tensor([0.5, -0.5])}, "probs"),
    ("Dirichlet", {"concentration": torch.tensor([1.0, 0.0])}, "concentration"),
    ("MultivariateNormal", {"loc": torch.zeros(2), "scale_tril": -torch.eye(2)}, "scale_tril"),
    ("MultivariateNormal", {"loc": torch.zeros(2), "covariance_matrix": -torch.eye(2)}, "covariance_matrix"),
    ("MultivariateNormal", {"loc": torch.zeros(2), "precision_matrix": torch.ones(2, 2)}, "precision_matrix"),
    ("Wishart", {"df": torch.tensor([0.5]), "scale_tril": torch.eye(2)}, "df"),
    ("LKJCholesky", {"dim": 3, "concentration": torch.tensor(-1.0)}, "concentration"),
    ("RelaxedBernoulli", {"temperature": torch.tensor(1.0), "probs": torch.tensor([1.5])}, "probs"),
    ("StudentT", {"df": torch.tensor(-1.0)}, "df"),
    ("GeneralizedPareto", {"loc": 0.0, "scale": torch.tensor(-1.0), "concentration": 0.1}, "scale"),
    ("Unit", {"log_factor": torch.tensor(torch.nan)}, "log_factor"),
    ("Delta", {"v": torch.zeros(2), "log_density": torch.tensor(torch.nan)}, "log_density"),
    ("Empirical", {"samples": torch.zeros(2), "log_weights": torch.full((2,), -torch.inf)}, "log_weights"),
]

bad = pytest.mark.parametrize(("name", "keywords", "culprit"), BAD, ids=[f"{name}-{at}" for name, _, at in BAD])


@bad
def test_a_bad_tensor_is_named_at_once_outside_a_run(name, keywords, culprit):
    with pytest.raises(ParameterError, match=rf"(?s)^{name} expects '{culprit}' in .*but found"):
        getattr(dist, name)(**keywords)


@bad
def test_inside_a_run_it_is_noted_and_nothing_is_read(name, keywords, culprit):
    pending = validation.PendingChecks()
    token = validation.PENDING.set(pending)
    try:
        getattr(dist, name)(**keywords)
    finally:
        validation.PENDING.reset(token)
    with pytest.raises(ParameterError, match=rf"{name} expects '{culprit}'"):
        pending.raise_if_violated()


@bad
def test_validation_can_be_off(name, keywords, culprit):
    getattr(dist, name)(**keywords, validate_args=False)
    with validation_enabled(False):
        getattr(dist, name)(**keywords)
        with pytest.raises(ParameterError):
            getattr(dist, name)(**keywords, validate_args=True)


def test_good_arguments_pass(case):
    pending = validation.PendingChecks()
    token = validation.PENDING.set(pending)
    try:
        case.ours()
    finally:
        validation.PENDING.reset(token)
    pending.raise_if_violated()
    has_tensors = any(isinstance(value, torch.Tensor) for value in case.keywords().values())
    all_numbers = all(isinstance(value, numbers.Number) for value in case.keywords().values())
    assert bool(pending.notes) == has_tensors or all_numbers


@pytest.mark.parametrize(
    ("make", "culprit"),
    [
        (lambda: dist.Normal(0.0, -1.0), "scale"),
        (lambda: dist.Normal(float("nan"), 1.0), "loc"),
        (lambda: dist.Normal(torch.zeros(2), 0), "scale"),
        (lambda: dist.HalfCauchy(-5.0), "scale"),
        (lambda: dist.Uniform(1.0, 1.0), "high"),
        (lambda: dist.Bernoulli(1.5), "probs"),
        (lambda: dist.Binomial(-1, 0.5), "total_count"),
        (lambda: dist.Beta(1.0, 0.0), "concentration0"),
    ],
)
def test_a_bad_number_is_named_at_once_also_in_a_run(make, culprit):
    token = validation.PENDING.set(validation.PendingChecks())
    try:
        with pytest.raises(ParameterError, match=f"expects '{culprit}' in .*but found"):
            make()
    finally:
        validation.PENDING.reset(token)


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda: dist.Normal(torch.zeros(2), torch.ones(3)), "Normal: .* loc (2,), scale (3,)"),
        (lambda: dist.Gamma(torch.ones(2), torch.ones(3)), "Gamma: .* concentration (2,), rate (3,)"),
        (lambda: dist.Uniform(torch.zeros(2), torch.ones(3)), "Uniform: .* low (2,), high (3,)"),
        (lambda: dist.Binomial(torch.ones(2), torch.ones(3)), "Binomial: .* total_count (2,), probs (3,)"),
        (
            lambda: dist.StudentT(torch.ones(2), torch.ones(3), torch.ones(2)),
            "StudentT: .* df (2,), loc (3,), scale (2,)",
        ),
        (
            lambda: dist.MultivariateNormal(torch.zeros(3), torch.eye(2)),
            "MultivariateNormal: .* loc (3,), covariance_matrix (2, 2)",
        ),
        (
            lambda: dist.MultivariateNormal(torch.zeros(3, 2), torch.eye(2).expand(4, 2, 2)),
            "MultivariateNormal: .* loc (3, 2), covariance_matrix (4, 2, 2)",
        ),
        (lambda: dist.MultivariateNormal(torch.zeros(2), torch.ones(2, 3)), "covariance_matrix (2, 3)"),
        (
            lambda: dist.LowRankMultivariateNormal(torch.zeros(3), torch.ones(2, 1), torch.ones(3)),
            "LowRankMultivariateNormal: .* cov_factor (2, 1)",
        ),
        (lambda: dist.Wishart(torch.ones(3) * 4, torch.eye(2).expand(2, 2, 2)), "Wishart: .* df (3,)"),
        (lambda: dist.Delta(torch.zeros(2), torch.zeros(3)), "Delta: log_density of shape (3,).*(2,)"),
        (lambda: dist.Delta(torch.zeros(2), event_dim=2), "Delta: .* (2,) has no 2 event dims"),
        (lambda: dist.Empirical(torch.zeros(3), torch.zeros(2)), "Empirical: .* (2,) .* (3,)"),
        (
            lambda: dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), dist.Normal(torch.zeros(2), 1.0)),
            "MixtureSameFamily: .* mixture (3,), components (2,)",
        ),
        (
            lambda: dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.StickBreakingTransform()),
            "need 1 dim.* batch shape () ",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_named(make, shapes):
    pattern = shapes.replace("(", r"\(").replace(")", r"\)")
    with validation_enabled(False), pytest.raises(ParameterError, match=pattern):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: dist.Bernoulli(),
        lambda: dist.Bernoulli(0.5, 0.5),
        lambda: dist.Categorical(),
        lambda: dist.Multinomial(3, torch.ones(2), torch.ones(2)),
    ],
)
def test_either_probs_or_logits(make):
    with pytest.raises(ParameterError, match=r"either 'probs' or 'logits', but found (both|neither)"):
        make()


def test_other_refusals():
    with pytest.raises(ParameterError, match=r"exactly one of .* but found none"):
        dist.MultivariateNormal(torch.zeros(2))
    with pytest.raises(ParameterError, match=r"exactly one of .* covariance_matrix and scale_tril"):
        dist.MultivariateNormal(torch.zeros(2), covariance_matrix=torch.eye(2), scale_tril=torch.eye(2))
    with pytest.raises(ParameterError, match="'loc' with at least 1 dim"):
        dist.MultivariateNormal(torch.tensor(0.0), torch.eye(1))
    with pytest.raises(ParameterError, match="'probs' as a tensor with the categories in its last dim"):
        dist.Categorical(torch.tensor(0.5))
    with pytest.raises(ParameterError, match=r"'total_count' as an int"):
        dist.Multinomial(torch.tensor(3), torch.ones(2))
    with pytest.raises(ParameterError, match="at least 2, but found 1"):
        dist.LKJCholesky(1)
    with pytest.raises(TypeError, match="Normal expects 'loc' as a tensor or a number, but found list"):
        dist.Normal([0.0], 1.0)
    with pytest.raises(TypeError, match="expects transforms, but found str"):
        dist.TransformedDistribution(dist.Normal(0.0, 1.0), ["exp"])


class _Scalar:
    """A number of another library, such as numpy.float32: convertible, with an empty shape."""

    shape = ()

    def __float__(self):
        return 0.5


def test_numbers_of_other_libraries_are_converted():
    assert dist.Normal(_Scalar(), 1).loc == 0.5
    assert dist.Bernoulli(_Scalar()).probs == 0.5


def test_a_matrix_without_a_factor_gives_nan_not_an_exception():
    # Nothing may be read on the host while a program runs; the run's check, or the NaN, tells later.
    d = dist.MultivariateNormal(torch.zeros(2), covariance_matrix=-torch.eye(2), validate_args=False)
    assert d.log_prob(torch.zeros(2)).isnan()
