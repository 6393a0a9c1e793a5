"""Normal distributions of vectors: by a full matrix, or by a low-rank factor and a diagonal."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.distributions.lowrank_multivariate_normal import _batch_capacitance_tril
from torch.distributions.multivariate_normal import _batch_mahalanobis
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import (
    SCALAR,
    Broadcast,
    as_tensor_argument,
    check_arguments,
    joint_shape,
    shape_error,
)
from aleator.distributions.constraints import factorable
from aleator.distributions.distribution import Distribution
from aleator.errors import ParameterError

__all__ = ["LowRankMultivariateNormal", "MultivariateNormal", "cholesky_or_nan", "one_matrix"]

_MATRIX_CONSTRAINTS: dict[str, constraints.Constraint] = {
    "covariance_matrix": factorable,
    "precision_matrix": factorable,
    "scale_tril": constraints.lower_cholesky,
}


def cholesky_or_nan(matrix: Tensor) -> Tensor:
    """Return the Cholesky factor, NaN where there is none: nothing is read on the host, and the NaN is found later."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    return factor.masked_fill((info != 0)[..., None, None], torch.nan)  # type: ignore[no-any-return]  # untyped in torch


def one_matrix(owner: Distribution, **matrices: Tensor | None) -> tuple[str, Tensor]:
    """Return the name and value of the one matrix that is given.

    Raises:
        ParameterError: where none is, or several are, or it is no square matrix.
    """
    given = {name: matrix for name, matrix in matrices.items() if matrix is not None}
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise ParameterError(f"{type(owner).__name__} expects exactly one of {', '.join(matrices)}, but found {found}")
    name, value = next(iter(given.items()))
    matrix = as_tensor_argument(owner, name, value, min_dim=2)
    if matrix.shape[-1] != matrix.shape[-2]:
        raise shape_error(owner, given, "must end in a square matrix")
    return name, matrix


def factor_of(name: str, matrix: Tensor) -> Tensor:
    """Return the lower Cholesky factor of the covariance that a matrix states."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return cholesky_or_nan(matrix)
    # The factor of the inverse, by the factor of the matrix with rows and columns reversed.
    flipped = cholesky_or_nan(matrix.flip((-2, -1)))
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return torch.linalg.solve_triangular(flipped.flip((-2, -1)).mT, identity, upper=False)  # type: ignore[no-any-return]  # untyped in torch


@final
class MultivariateNormal(Distribution, torch_distributions.MultivariateNormal):
    """The normal distribution of vectors with mean ``loc`` and one of three matrices.

    Args:
        loc: the mean; its last dim is the vector's.
        covariance_matrix, precision_matrix, scale_tril: exactly one of them; ``scale_tril`` costs least.
        validate_args: whether to check arguments and shapes; by default as the context says.

    Raises:
        ParameterError: where not exactly one matrix is given, or the shapes do not fit.
    """

    argument_names = ("loc", "covariance_matrix", "precision_matrix", "scale_tril")
    loc = Broadcast(event_dim=1)
    _loc: Tensor

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._loc = loc = as_tensor_argument(self, "loc", loc, min_dim=1)
        name, matrix = one_matrix(
            self, covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril
        )
        if loc.shape[-1] not in (1, matrix.shape[-1]):
            raise shape_error(self, {"loc": loc, name: matrix}, "must end in one size")
        self._given = name
        self.__dict__["_" + name] = matrix
        self._factor = matrix if name == "scale_tril" else None
        batch_shape = loc.shape[:-1]
        if matrix.shape[:-2] != batch_shape:
            batch_shape = joint_shape(self, {"loc": loc, name: matrix}, {"loc": 1, name: 2})
        self._batch_shape = batch_shape
        self._event_shape = matrix.shape[-1:]
        if loc.shape[-1] != matrix.shape[-1]:
            self._loc = loc.expand(*loc.shape[:-1], matrix.shape[-1])
        constraint = _MATRIX_CONSTRAINTS[name]
        check_arguments(self, validate_args, (("loc", constraints.real_vector, loc), (name, constraint, matrix)))

    @property
    def _unbroadcasted_scale_tril(self) -> Tensor:  # type: ignore[override]  # torch has an attribute here
        """The Cholesky factor at the argument's own shape."""
        if self._factor is None:
            with torch.enable_grad():
                self._factor = factor_of(self._given, self.__dict__["_" + self._given])
        return self._factor

    def _matrix(self, name: str) -> Tensor:
        given = self.__dict__.get("_" + name)
        if given is not None:
            matrix: Tensor = given
        elif name == "scale_tril":
            matrix = self._unbroadcasted_scale_tril
        elif name == "covariance_matrix":
            matrix = self._unbroadcasted_scale_tril @ self._unbroadcasted_scale_tril.mT
        else:
            matrix = torch.cholesky_inverse(self._unbroadcasted_scale_tril)
        return matrix.expand(self._batch_shape + matrix.shape[-2:])

    @property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return self._matrix("scale_tril")

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return self._matrix("covariance_matrix")

    @property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        return self._matrix("precision_matrix")

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``loc + scale_tril @ noise``."""
        noise = randomness.normal(self._draw_shape(sample_shape), like=self._loc)
        return self._loc + (self._unbroadcasted_scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of vectors."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape + self._event_shape:
            value = self._aligned(value)
        factor = self._unbroadcasted_scale_tril
        residual = value - self._loc
        size = factor.shape[-1]
        if factor.dim() == 2:
            columns = torch.linalg.solve_triangular(factor, residual.reshape(-1, size).mT, upper=False)
            squared = (columns * columns).sum(0).reshape(residual.shape[:-1])
        else:
            squared = _batch_mahalanobis(factor, residual)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        half_log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * (size * math.log(2.0 * math.pi) + squared) - half_log_det  # type: ignore[no-any-return]  # untyped in torch


@final
class LowRankMultivariateNormal(Distribution, torch_distributions.LowRankMultivariateNormal):
    """The normal distribution of vectors with covariance ``cov_factor @ cov_factor.mT + diag(cov_diag)``.

    Args:
        loc: the mean; its last dim, of size ``n``, is the vector's.
        cov_factor: matrices of shape ``(n, m)``, with ``m`` much smaller than ``n``.
        cov_diag: the positive diagonal, of size ``n``.
        validate_args: whether to check arguments and shapes; by default as the context says.
    """

    argument_names = ("loc", "cov_factor", "cov_diag")
    _shaped_caches = ("scale_tril", "covariance_matrix", "precision_matrix", "variance")
    loc = Broadcast(event_dim=1)
    _loc: Tensor
    cov_factor = Broadcast(event_dim=2)
    _cov_factor: Tensor
    cov_diag = Broadcast(event_dim=1)
    _cov_diag: Tensor

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        self._loc = as_tensor_argument(self, "loc", loc, min_dim=1)
        self._cov_factor = self._unbroadcasted_cov_factor = as_tensor_argument(self, "cov_factor", cov_factor, 2)
        self._cov_diag = self._unbroadcasted_cov_diag = as_tensor_argument(self, "cov_diag", cov_diag, 1)
        arguments = {"loc": self._loc, "cov_factor": self._cov_factor, "cov_diag": self._cov_diag}
        self._event_shape = self._loc.shape[-1:]
        if cov_factor.shape[-2:-1] != self._event_shape or cov_diag.shape[-1:] != self._event_shape:
            raise shape_error(self, arguments, "must agree on the size of a vector")
        self._batch_shape = joint_shape(self, arguments, {"loc": 1, "cov_factor": 2, "cov_diag": 1})
        stated = self.arg_constraints
        check_arguments(self, validate_args, [(name, stated[name], value) for name, value in arguments.items()])
        self._capacitance: Tensor | None = None

    @property
    def _capacitance_tril(self) -> Tensor:
        if self._capacitance is None:
            with torch.enable_grad():
                self._capacitance = _batch_capacitance_tril(self._cov_factor, self._cov_diag)  # type: ignore[no-untyped-call]  # untyped in torch
        return self._capacitance

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``loc + cov_factor @ noise + sqrt(cov_diag) * noise``."""
        shape = self._draw_shape(sample_shape)
        factor_noise = randomness.normal(shape[:-1] + self._cov_factor.shape[-1:], like=self._loc)
        noise = randomness.normal(shape, like=self._loc)
        low_rank = (self._cov_factor @ factor_noise.unsqueeze(-1)).squeeze(-1)
        return self._loc + low_rank + self._cov_diag.sqrt() * noise
