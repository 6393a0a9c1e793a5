"""A module's lazy attributes: official names that resolve to what a plugin provides.

The module that wears a face needs two lines::

    _face = Face(__name__, HANDLER)
    __getattr__, __dir__ = _face.attribute, _face.names
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from aleator.errors import MissingPluginError, PluginLoadError
from aleator.plugins._official import OFFICIAL
from aleator.plugins.kinds import ALGORITHM, ESTIMATOR, HANDLER, Kind
from aleator.plugins.suggestions import did_you_mean

if TYPE_CHECKING:
    from aleator.plugins.registry import Registry

__all__ = ["ALGORITHM", "ESTIMATOR", "HANDLER", "Face"]


@final
class Face:
    """The lazy half of one module.

    Only names in the core's generated table are attributes, and only the distribution that owns a name is loaded for
    it; nothing is stored in the module, so a refresh has nothing to clear there.

    Args:
        module: the name of the module; its ``__all__`` lists the names that are its own.
        kinds: the kinds of names that it shows.
    """

    def __init__(self, module: str, *kinds: Kind) -> None:
        self._module = module
        self._kinds = kinds

    def attribute(self, name: str) -> object:
        """Resolve an attribute; this is the module's ``__getattr__``.

        Raises:
            MissingPluginError: the name is official and its plugin is not installed, too old, or disabled. It is an
                ``ImportError``, since Python replaces the text of an ``AttributeError`` in ``from ... import``.
            PluginLoadError: its plugin is installed and broken.
            AttributeError: no such name.
        """
        if name not in self._official:
            hint = "" if name.startswith("_") else did_you_mean(name, {*self._eager, *self._official})
            raise AttributeError(f"module {self._module!r} has no attribute {name!r}{hint}")
        return self._registry.resolve(self._kinds, name)

    def names(self) -> list[str]:
        """List the module's names, with the official ones whose plugin is here and healthy: its ``__dir__``."""
        lazy = (name for name in self._official if self._is_listed(name))
        special = (name for name in vars(sys.modules[self._module]) if name.startswith("__"))
        return sorted({*special, *self._eager, *lazy})

    def is_available(self, name: str) -> bool:
        """Tell whether a name can be used, without importing what it stands for.

        A third party's name is looked for in every plugin.

        Raises:
            PluginLoadError: under ``ALEATOR_PLUGINS_STRICT=1``, where a plugin on the way failed.
        """
        if name in self._eager:
            return True
        if name not in self._official and "/" not in name:
            return False
        registry = self._registry
        try:
            registry.find(self._kinds, name)
        except (MissingPluginError, LookupError):
            return False
        except PluginLoadError:
            # Strict mode raises here; otherwise "no" must not be all that is ever said of a broken plugin.
            registry.announce()
            return False
        return True

    def get(self, kind: Kind, name: str) -> object:
        """Return what a name of one kind stands for: official, ``"acme/VRMax"`` or ``"distribution:acme/VRMax"``."""
        return self._registry.resolve([kind], name)

    def _is_listed(self, name: str) -> bool:
        try:
            return self.is_available(name)
        except PluginLoadError:
            # Under strict mode the access raises; a listing never does.
            return False

    @property
    def _registry(self) -> Registry:
        # pluggy comes with the registry: neither is loaded before a plugin's name is asked for.
        from aleator.plugins.registry import current

        return current()

    @property
    def _official(self) -> Mapping[str, str]:
        return OFFICIAL.handlers if HANDLER in self._kinds else OFFICIAL.infer

    @property
    def _eager(self) -> set[str]:
        return set(sys.modules[self._module].__all__)
