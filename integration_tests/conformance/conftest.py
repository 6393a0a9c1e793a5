"""Estimators that compile are checked on recorded graphs, unless the session asks for packages."""

from __future__ import annotations

import os

os.environ.setdefault("ALEATOR_COMPILE_BACKEND", "eager")
