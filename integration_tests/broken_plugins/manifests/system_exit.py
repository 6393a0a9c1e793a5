"""Ends the process while it is imported, as a script without a main guard does."""

from __future__ import annotations

raise SystemExit("this plugin needs a licence")
