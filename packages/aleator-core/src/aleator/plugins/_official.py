"""Placeholder until the generator has run."""

from __future__ import annotations

from aleator.plugins.official_names import OfficialNames

OFFICIAL = OfficialNames(infer={}, handlers={}, infer_keys={})
