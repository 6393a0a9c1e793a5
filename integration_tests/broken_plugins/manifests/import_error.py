"""Imports what is not there."""

from __future__ import annotations

import a_module_that_nobody_ships  # noqa: F401  # what is tested
