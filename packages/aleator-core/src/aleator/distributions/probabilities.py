"""Arguments given either as probabilities or as logits, the other computed when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from aleator.distributions.arguments import SCALAR, Argument, as_argument, check_arguments, constant, joint_shape
from aleator.distributions.constraints import Constraint, finite_logits, real, unit_interval, weights
from aleator.distributions.distribution import Distribution
from aleator.errors import ParameterError

__all__ = ["BinaryProbabilities", "CategoryProbabilities", "clamp_probs", "one_of"]


def one_of(owner: Distribution, probs: Any, logits: Any) -> str:  # noqa: ANN401  # whatever a user passes
    """Return which of the two is given.

    Raises:
        ParameterError: where both are, or neither.
    """
    if (probs is None) == (logits is None):
        found = "neither" if probs is None else "both"
        raise ParameterError(f"{type(owner).__name__} expects either 'probs' or 'logits', but found {found}")
    return "logits" if probs is None else "probs"


def clamp_probs(probs: Tensor) -> Tensor:
    """Keep probabilities one epsilon away from 0 and 1, so that their logits are finite."""
    epsilon = torch.finfo(probs.dtype).eps
    return probs.clamp(min=epsilon, max=1.0 - epsilon)


class BinaryProbabilities(Distribution):
    """The abstract base of distributions of trials with two outcomes: ``probs`` and ``logits`` are elementwise."""

    argument_names: ClassVar[tuple[str, ...]] = ("probs", "logits")

    def _begin_binary(self, validate_args: bool | None, probs: Any, logits: Any, /, **others: Any) -> None:  # noqa: ANN401  # what users pass
        """Keep what is given, find the batch shape, and note the checks."""
        self._given = given = one_of(self, probs, logits)
        value = as_argument(self, given, probs if logits is None else logits)
        checks: list[tuple[str, Constraint, Argument]] = [(given, unit_interval if given == "probs" else real, value)]
        stated = self.arg_constraints
        like = value if isinstance(value, Tensor) else None
        for name, other in others.items():
            others[name] = other = as_argument(self, name, other)
            checks.append((name, stated[name], other))
            if like is None and isinstance(other, Tensor):
                like = other
        if not isinstance(value, Tensor):
            value = constant(value, like)
        self._probs = value if given == "probs" else None
        self._logits = value if given == "logits" else None
        shape = value.shape
        for name, other in others.items():
            self.__dict__["_" + name] = other
            if isinstance(other, Tensor) and other.shape != shape:
                shape = joint_shape(self, {**others, given: value})
        self._batch_shape = shape
        self._event_shape = SCALAR
        check_arguments(self, validate_args, checks)

    def _stated(self) -> Tensor:
        """What is given, at its own shape."""
        value = self._probs if self._given == "probs" else self._logits
        assert value is not None
        return value

    def _raw_probs(self) -> Tensor:
        if self._probs is None:
            with torch.enable_grad():
                self._probs = self._probs_of(self._stated())
        return self._probs

    def _raw_logits(self) -> Tensor:
        if self._logits is None:
            with torch.enable_grad():
                clamped = clamp_probs(self._stated())
                self._logits = clamped.log() - (-clamped).log1p()
        return self._logits

    def _probs_of(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def _at_batch_shape(self, value: Tensor) -> Tensor:
        return value if value.shape == self._batch_shape else value.expand(self._batch_shape)

    @property
    def probs(self) -> Tensor:
        """The probabilities of a success, over the batch shape."""
        return self._at_batch_shape(self._raw_probs())

    @property
    def logits(self) -> Tensor:
        """The logits of a success, over the batch shape."""
        return self._at_batch_shape(self._raw_logits())

    if TYPE_CHECKING:
        _param: Tensor  # an attribute of torch's, a property here
    else:

        @property
        def _param(self) -> Tensor:
            return self.probs if self._given == "probs" else self.logits

    def _log_failure(self) -> Tensor:
        """The log-probability of a failure, at the arguments' own shape."""
        return functional.logsigmoid(-self._raw_logits())


class CategoryProbabilities(Distribution):
    """The abstract base of distributions over categories: ``probs`` and ``logits`` have the categories last.

    Probabilities need not sum to one; both are normalized when they are first used.
    """

    argument_names: ClassVar[tuple[str, ...]] = ("probs", "logits")
    _event_is_category: ClassVar[bool] = True

    def _begin_categories(self, validate_args: bool | None, probs: Any, logits: Any) -> None:  # noqa: ANN401  # what users pass
        """Keep what is given, find batch and event shape, and note the checks."""
        self._given = given = one_of(self, probs, logits)
        value = probs if logits is None else logits
        if not isinstance(value, Tensor) or value.dim() == 0:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ParameterError(
                f"{type(self).__name__} expects {given!r} as a tensor with the categories in its last dim, "
                f"but found {shape}"
            )
        self._probs = value if given == "probs" else None
        self._logits = value if given == "logits" else None
        self._normal_probs: Tensor | None = None
        self._normal_logits: Tensor | None = None
        self._num_events = value.shape[-1]
        self._batch_shape = value.shape[:-1]
        self._event_shape = value.shape[-1:] if self._event_is_category else SCALAR
        check_arguments(self, validate_args, ((given, weights if given == "probs" else finite_logits, value),))

    def _stated(self) -> Tensor:
        """What is given, at its own shape."""
        value = self._probs if self._given == "probs" else self._logits
        assert value is not None
        return value

    def _raw_probs(self) -> Tensor:
        """The normalized probabilities at the argument's own shape."""
        if self._normal_probs is None:
            with torch.enable_grad():
                if self._probs is not None:
                    self._normal_probs = self._probs / self._probs.sum(-1, keepdim=True)
                else:
                    self._normal_probs = self._logits.softmax(-1)  # type: ignore[union-attr]  # one of the two is given
        return self._normal_probs

    def _raw_logits(self) -> Tensor:
        """The normalized logits at the argument's own shape."""
        if self._normal_logits is None:
            with torch.enable_grad():
                if self._logits is not None:
                    self._normal_logits = self._logits.log_softmax(-1)
                else:
                    self._normal_logits = clamp_probs(self._raw_probs()).log()
        return self._normal_logits

    def _over_batch(self, value: Tensor) -> Tensor:
        shape = (*self._batch_shape, self._num_events)
        return value if value.shape == shape else value.expand(shape)

    @property
    def probs(self) -> Tensor:
        """The normalized probabilities, over the batch shape and the categories."""
        return self._over_batch(self._raw_probs())

    @property
    def logits(self) -> Tensor:
        """The normalized logits, over the batch shape and the categories."""
        return self._over_batch(self._raw_logits())

    if TYPE_CHECKING:
        _param: Tensor  # an attribute of torch's, a property here
    else:

        @property
        def _param(self) -> Tensor:
            return self.probs if self._given == "probs" else self.logits

    def _log_prob_of_index(self, index: Tensor) -> Tensor:
        """Return the log-probabilities of categories; the index has the shape of the result."""
        logits = self._raw_logits()
        if index.dtype != torch.int64:
            index = index.long()
        if logits.shape[:-1] != index.shape:
            logits = logits.expand(*index.shape, self._num_events)
        return logits.gather(-1, index.unsqueeze(-1)).squeeze(-1)
