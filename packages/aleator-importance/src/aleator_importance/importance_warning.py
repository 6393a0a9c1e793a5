"""The warning of this package."""

from __future__ import annotations

from typing import final

from aleator.errors import AleatorWarning

__all__ = ["ImportanceWarning"]


@final
class ImportanceWarning(AleatorWarning):
    """Importance sampling runs, but its numbers should not be trusted, or it runs slower than it could."""
