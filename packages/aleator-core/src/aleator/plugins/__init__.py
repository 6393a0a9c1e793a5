"""What the authors of plugins import, and what an application asks about its plugins.

A plugin is a distribution with an entry point in the group ``aleator`` that names a light module, its manifest. The
manifest imports this package only, states ``ALEATOR_PLUGIN_API = 1`` and implements the hooks of
``aleator.plugins.hookspecs``, which return descriptors. A descriptor names its target as text; the target is imported
when somebody uses the name.

``python -m aleator.plugins`` lists what is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aleator.errors import MissingPluginError, PluginWarning
from aleator.plugins.capabilities import Capabilities
from aleator.plugins.lazy_exports import lazy_exports
from aleator.plugins.specs import AlgorithmSpec, EstimatorSpec, HandlerSpec

if TYPE_CHECKING:
    from aleator.plugins.hookspecs import hookimpl
    from aleator.plugins.registry import refresh

__all__ = [
    "AlgorithmSpec",
    "Capabilities",
    "EstimatorSpec",
    "HandlerSpec",
    "MissingPluginError",
    "PluginWarning",
    "hookimpl",
    "lazy_exports",
    "refresh",
]


def __getattr__(name: str) -> object:
    # These two need pluggy, which the core's own import must not load.
    if name == "hookimpl":
        from aleator.plugins.hookspecs import hookimpl

        return hookimpl
    if name == "refresh":
        from aleator.plugins.registry import refresh

        return refresh
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
