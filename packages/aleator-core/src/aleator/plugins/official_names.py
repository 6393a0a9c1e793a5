"""The shape of the core's one table that names plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import final

__all__ = ["OfficialNames"]


@final
@dataclass(frozen=True)
class OfficialNames:
    """Which official distribution provides which name; a generated value is in ``_official``.

    Attributes:
        infer: names on ``aleator.infer``.
        handlers: names on ``aleator.handlers``.
        infer_keys: keys of a site's ``infer`` mapping.
    """

    infer: Mapping[str, str]
    handlers: Mapping[str, str]
    infer_keys: Mapping[str, str]

    def provider(self, label: str, name: str) -> str | None:
        """Return the distribution that provides a name of a kind (``"estimator"``...), or ``None``."""
        return (self.handlers if label == "handler" else self.infer).get(name)

    @cached_property
    def distributions(self) -> tuple[str, ...]:
        """The official distributions, in the order in which they are discovered."""
        return tuple(sorted({*self.infer.values(), *self.handlers.values(), *self.infer_keys.values()}))
