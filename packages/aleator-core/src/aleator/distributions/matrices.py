"""Distributions of matrices: Wishart, and Lewandowski, Kurowicka and Joe's over correlations."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import (
    SCALAR,
    Argument,
    Broadcast,
    as_argument,
    as_kind,
    check_arguments,
    joint_shape,
)
from aleator.distributions.dirichlet import Beta
from aleator.distributions.distribution import Distribution, ExponentialFamily
from aleator.distributions.gamma import positive_gamma
from aleator.distributions.multivariate_normal import _MATRIX_CONSTRAINTS, factor_of, one_matrix
from aleator.errors import ParameterError

__all__ = ["LKJCholesky", "Wishart"]


@final
class Wishart(ExponentialFamily, torch_distributions.Wishart):
    """The Wishart distribution of positive definite matrices.

    Args:
        df: degrees of freedom, larger than the size of the matrices minus one.
        covariance_matrix, precision_matrix, scale_tril: exactly one of them states the scale matrix.
        validate_args: whether to check arguments and shapes; by default as the context says.
    """

    argument_names = ("df", "covariance_matrix", "precision_matrix", "scale_tril")
    df = Broadcast()
    _df: Argument

    def __init__(
        self,
        df: Argument,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = one_matrix(
            self, covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril
        )
        self._df = as_argument(self, "df", df)
        self._given = name
        self.__dict__["_" + name] = matrix
        self._factor = matrix if name == "scale_tril" else None
        self._batch_shape = joint_shape(self, {"df": self._df, name: matrix}, {name: 2})
        self._event_shape = matrix.shape[-2:]
        enough = constraints.greater_than(matrix.shape[-1] - 1)  # type: ignore[no-untyped-call]  # untyped in torch
        check_arguments(self, validate_args, (("df", enough, self._df), (name, _MATRIX_CONSTRAINTS[name], matrix)))

    def _like(self) -> Tensor:
        matrix: Tensor = self.__dict__["_" + self._given]
        return matrix

    @property
    def _unbroadcasted_scale_tril(self) -> Tensor:  # type: ignore[override]  # torch has an attribute here
        """The Cholesky factor at the argument's own shape."""
        if self._factor is None:
            with torch.enable_grad():
                self._factor = factor_of(self._given, self.__dict__["_" + self._given])
        return self._factor

    def _matrix(self, name: str) -> Tensor:
        given = self.__dict__.get("_" + name)
        factor = self._unbroadcasted_scale_tril
        if given is not None:
            matrix: Tensor = given
        elif name == "scale_tril":
            matrix = factor
        elif name == "covariance_matrix":
            matrix = factor @ factor.mT
        else:
            identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
            matrix = torch.cholesky_solve(identity, factor)
        return matrix.expand(self._batch_shape + self._event_shape)

    @property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the scale matrix."""
        return self._matrix("scale_tril")

    @property
    def covariance_matrix(self) -> Tensor:
        """The scale matrix."""
        return self._matrix("covariance_matrix")

    @property
    def precision_matrix(self) -> Tensor:
        """The inverse of the scale matrix."""
        return self._matrix("precision_matrix")

    def rsample(self, sample_shape: _size = SCALAR, max_try_correction: int | None = None) -> Tensor:
        """Draw by Bartlett's decomposition; ``max_try_correction`` is torch's and has no effect.

        Torch draws again whatever a check calls singular, which reads the draw on the host; here the draw stands.
        """
        factor = self._unbroadcasted_scale_tril
        size = factor.shape[-1]
        batch = torch.Size(sample_shape) + self._batch_shape
        steps = torch.arange(size, dtype=factor.dtype, device=factor.device)
        df = (self.df.unsqueeze(-1) - steps).expand((*batch, size))
        chi_squared = positive_gamma(0.5 * df, 0.5)
        diagonal = chi_squared.sqrt().clamp(min=torch.finfo(factor.dtype).eps)
        below = randomness.normal((*batch, size * (size - 1) // 2), like=factor)
        rows, columns = torch.tril_indices(size, size, offset=-1, device=factor.device)
        flat = torch.zeros((*batch, size * size), dtype=factor.dtype, device=factor.device)
        noise = flat.index_copy(-1, rows * size + columns, below).unflatten(-1, (size, size)) + diagonal.diag_embed()  # type: ignore[no-untyped-call]  # untyped in torch
        root = factor @ noise
        return root @ root.mT  # type: ignore[no-any-return]  # torch leaves it untyped


@final
class LKJCholesky(Distribution, torch_distributions.LKJCholesky):
    """Cholesky factors of correlation matrices (Lewandowski, Kurowicka and Joe 2009, the onion method).

    Args:
        dim: the size of the matrices, at least 2.
        concentration: 1 is uniform over correlation matrices; larger prefers weak correlations.
        validate_args: whether to check arguments and shapes; by default as the context says.
    """

    argument_names = ("concentration",)
    concentration = Broadcast()
    _concentration: Argument

    def __init__(self, dim: int, concentration: Argument = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ParameterError(f"LKJCholesky expects 'dim' to be at least 2, but found {dim}")
        self.dim = dim
        self._begin(validate_args, concentration=concentration)
        self._event_shape = torch.Size((dim, dim))

    @property
    def _beta(self) -> Beta:  # type: ignore[override]  # torch has an attribute here
        """The squared radius of each row of the factor."""
        concentration = as_kind(self._concentration, None)
        offset = torch.arange(self.dim - 1, dtype=concentration.dtype, device=concentration.device)
        offset = torch.cat([offset.new_zeros((1,)), offset])
        marginal = concentration.unsqueeze(-1) + 0.5 * (self.dim - 2)
        return Beta(offset + 0.5, marginal - 0.5 * offset, validate_args=False).expand((*self._batch_shape, self.dim))

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw factors, row by row: a radius and a direction."""
        with torch.no_grad():
            radius = self._beta.sample(sample_shape).unsqueeze(-1)
            direction = randomness.normal(self._draw_shape(sample_shape), like=radius).tril(-1)
            direction = direction / direction.norm(dim=-1, keepdim=True)
            # The first row has nothing below the diagonal: its direction is 0 / 0.
            first = torch.arange(self.dim, device=direction.device).unsqueeze(-1) == 0
            rows = radius.sqrt() * direction.masked_fill(first, 0.0)
            tiny = torch.finfo(rows.dtype).tiny
            diagonal = (1.0 - (rows**2).sum(-1)).clamp(min=tiny).sqrt()
            return rows + diagonal.diag_embed()  # type: ignore[no-any-return]  # torch leaves it untyped
