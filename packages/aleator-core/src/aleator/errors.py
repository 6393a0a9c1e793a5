"""Every exception and warning that Aleator raises on purpose.

Messages name the culprit (site, plate, parameter or plugin), what was expected, what was found, and what to do.
"""

from __future__ import annotations

__all__ = [
    "AleatorWarning",
    "AmbiguousPluginError",
    "CheckpointError",
    "MissingPluginError",
    "ModelGuideMismatchError",
    "NonFiniteError",
    "ParameterError",
    "PluginLoadError",
    "PluginWarning",
    "SupportError",
    "UnsupportedModelError",
]


class ModelGuideMismatchError(ValueError):
    """A model and its guide disagree: sites that one of them lacks, or shapes that differ."""


class UnsupportedModelError(ValueError):
    """A program asks for something that the estimator, handler or algorithm states it cannot do."""


class ParameterError(ValueError):
    """A parameter of the store or of a distribution is missing, misshapen or outside its constraint."""


class SupportError(ValueError):
    """A value lies outside the support of the distribution that scores it."""


class NonFiniteError(ValueError):
    """A loss, gradient, parameter or log-probability is NaN or infinite where it must be finite."""


class CheckpointError(OSError):
    """A saved file is damaged, of a foreign format, or does not fit what it is loaded into."""


class MissingPluginError(ImportError):
    """An official name is known, but the distribution that provides it is not installed, or is disabled."""


class PluginLoadError(ImportError):
    """An installed plugin, or the target behind one of its names, failed to load."""


class AmbiguousPluginError(LookupError):
    """Two third-party distributions register one name."""


class AleatorWarning(UserWarning):
    """Something runs, but probably not as its author meant it."""


class PluginWarning(AleatorWarning):
    """A plugin was found but could not take part."""
