"""What a plugin registers: frozen descriptors that name a target and import nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, final

__all__ = ["AbstractSpec", "AlgorithmSpec", "EstimatorSpec", "HandlerSpec"]

_NAME = re.compile(r"(?:[a-z0-9][a-z0-9._-]*/)?[A-Za-z][A-Za-z0-9_]*")
_MODULE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_TARGET = re.compile(rf"{_MODULE}:{_MODULE}", re.ASCII)
_MODULE_TARGET = re.compile(_MODULE, re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstractSpec:
    """One registered name; made through one of its final subclasses.

    Attributes:
        name: ``"Trace_ELBO"``; a third party's name carries its vendor, ``"acme/VRMax"``.
        target: ``"module:attribute"``, imported when the name is first used.
        summary: one line for listings.

    Raises:
        TypeError: a field is not a string.
        ValueError: a field is malformed; the text says how it is written.
    """

    label: ClassVar[str] = ""
    allows_module_target: ClassVar[bool] = False

    name: str
    target: str
    summary: str

    def __post_init__(self) -> None:
        if not self.label:
            raise TypeError("AbstractSpec is abstract: use EstimatorSpec, HandlerSpec or AlgorithmSpec")
        kind = type(self).__name__
        for field, value in (("name", self.name), ("target", self.target), ("summary", self.summary)):
            if not isinstance(value, str):
                raise TypeError(f"{kind}({field}=...) must be a string, found {value!r}")
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"{kind}(name={self.name!r}): write 'vendor/Name', for example 'acme/VRMax'")
        is_module = self.allows_module_target and _MODULE_TARGET.fullmatch(self.target) is not None
        if not is_module and _TARGET.fullmatch(self.target) is None:
            raise ValueError(
                f"{kind}(name={self.name!r}, target={self.target!r}): write 'module:attribute', "
                "for example 'acme_vr.estimator:VRMax'"
            )
        if not self.summary.strip() or "\n" in self.summary:
            raise ValueError(f"{kind}(name={self.name!r}): the summary is one line of text, found {self.summary!r}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorSpec(AbstractSpec):
    """Registers a class derived from ``aleator.infer.AbstractEstimator``.

    Example:
        >>> from aleator.plugins import EstimatorSpec
        >>> EstimatorSpec(name="acme/VRMax", target="acme_vr.estimator:VRMax", summary="Largest particle only.").name
        'acme/VRMax'
    """

    label: ClassVar[str] = "estimator"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerSpec(AbstractSpec):
    """Registers a messenger, or a function that puts one around a program.

    Example:
        >>> from aleator.plugins import HandlerSpec
        >>> HandlerSpec(name="acme/freeze", target="acme_vr.freeze:freeze", summary="Holds sites fixed.").target
        'acme_vr.freeze:freeze'
    """

    label: ClassVar[str] = "handler"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSpec(AbstractSpec):
    """Registers what runs estimators or replaces them: a training loop, a sampler, a compiler, a module of such.

    A target without a colon is a module.

    Example:
        >>> from aleator.plugins import AlgorithmSpec
        >>> AlgorithmSpec(name="acme/anneal", target="acme_vr.anneal", summary="Annealed training.").target
        'acme_vr.anneal'
    """

    label: ClassVar[str] = "algorithm"
    allows_module_target: ClassVar[bool] = True
