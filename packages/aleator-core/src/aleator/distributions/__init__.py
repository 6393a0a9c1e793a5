"""Every distribution of torch under its own name, with what probabilistic programs need beside it.

All are subclasses of torch's and behave as those do; on top they have ``to_event``, ``mask``, ``expand_by``, draws from
the context's source of randomness, and checks that cost one host read per run.

Example:
    >>> import torch
    >>> import aleator.distributions as dist
    >>> isinstance(dist.Normal(0.0, 1.0), torch.distributions.Normal)
    True
"""

from __future__ import annotations

from torch.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)

from aleator.distributions import constraints, transforms
from aleator.distributions.bernoulli import Bernoulli, ContinuousBernoulli, LogitRelaxedBernoulli, RelaxedBernoulli
from aleator.distributions.categorical import (
    Categorical,
    ExpRelaxedCategorical,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    RelaxedOneHotCategorical,
)
from aleator.distributions.cauchy import Cauchy, HalfCauchy
from aleator.distributions.counts import Binomial, Geometric, Multinomial, NegativeBinomial, Poisson
from aleator.distributions.delta import Delta
from aleator.distributions.dirichlet import Beta, Dirichlet
from aleator.distributions.distribution import Distribution, ExponentialFamily
from aleator.distributions.empirical import Empirical
from aleator.distributions.extreme_values import GeneralizedPareto, Gumbel, Pareto, Weibull
from aleator.distributions.gamma import Chi2, Exponential, FisherSnedecor, Gamma, InverseGamma
from aleator.distributions.independent import Independent
from aleator.distributions.kl import kl_divergence, register_kl
from aleator.distributions.kumaraswamy import Kumaraswamy
from aleator.distributions.laplace import Laplace
from aleator.distributions.logistic_normal import LogisticNormal
from aleator.distributions.masked import MaskedDistribution
from aleator.distributions.matrices import LKJCholesky, Wishart
from aleator.distributions.mixture import MixtureSameFamily
from aleator.distributions.multivariate_normal import LowRankMultivariateNormal, MultivariateNormal
from aleator.distributions.normal import HalfNormal, LogNormal, Normal
from aleator.distributions.registries import biject_to, transform_to
from aleator.distributions.student_t import StudentT
from aleator.distributions.transformed import TransformedDistribution
from aleator.distributions.uniform import Uniform
from aleator.distributions.unit import Unit
from aleator.distributions.von_mises import VonMises

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "Binomial",
    "CatTransform",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "ContinuousBernoulli",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "Delta",
    "Dirichlet",
    "Distribution",
    "Empirical",
    "ExpRelaxedCategorical",
    "ExpTransform",
    "Exponential",
    "ExponentialFamily",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "IndependentTransform",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LogitRelaxedBernoulli",
    "LowRankMultivariateNormal",
    "LowerCholeskyTransform",
    "MaskedDistribution",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "TransformedDistribution",
    "Uniform",
    "Unit",
    "VonMises",
    "Weibull",
    "Wishart",
    "biject_to",
    "constraints",
    "identity_transform",
    "kl_divergence",
    "register_kl",
    "transform_to",
    "transforms",
]
