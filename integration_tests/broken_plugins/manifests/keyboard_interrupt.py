"""Is interrupted by the user while it is imported."""

from __future__ import annotations

raise KeyboardInterrupt
