"""The estimator contract, and by name every estimator and algorithm that a plugin provides.

``aleator.infer.Trace_ELBO``, ``aleator.infer.SVI`` and the like resolve when they are first used; only the
distribution that owns the name is loaded for it. Third parties' names are looked up by ``get_estimator``.
"""

from __future__ import annotations

from typing import cast

from aleator.infer.estimator import AbstractEstimator, Estimate
from aleator.infer.explain import explain
from aleator.infer.explain_table import Explanation, SiteRow
from aleator.infer.factor import Factor, Role, density
from aleator.infer.gradient_rules import GradientRule
from aleator.infer.potential import Potential, potential
from aleator.infer.step import pure_step
from aleator.infer.structure import SiteStructure, Structure, analyse
from aleator.plugins.capabilities import Capabilities
from aleator.plugins.face import ALGORITHM, ESTIMATOR, Face

__all__ = [
    "AbstractEstimator",
    "Capabilities",
    "Estimate",
    "Explanation",
    "Factor",
    "GradientRule",
    "Potential",
    "Role",
    "SiteRow",
    "SiteStructure",
    "Structure",
    "analyse",
    "density",
    "explain",
    "get_estimator",
    "is_available",
    "potential",
    "pure_step",
]

_face = Face(__name__, ESTIMATOR, ALGORITHM)
__getattr__, __dir__ = _face.attribute, _face.names


def is_available(name: str) -> bool:
    """Tell whether ``name`` can be used: it is the core's own, or an installed and healthy plugin registers it.

    What the name stands for is not imported. ``hasattr`` raises where an official plugin is missing; this does not.

    Example:
        >>> from aleator import infer
        >>> infer.is_available("get_estimator"), infer.is_available("Trace_ELBOW")
        (True, False)
    """
    return _face.is_available(name)


def get_estimator(name: str) -> type[AbstractEstimator]:
    """Return the estimator class registered as ``name``.

    Args:
        name: an official name (``"Trace_ELBO"``), a third party's (``"acme/VRMax"``), or, where two third parties
            use one name, ``"distribution:acme/VRMax"``.

    Raises:
        MissingPluginError: the name is official; its plugin is not installed, too old, or disabled.
        PluginLoadError: the plugin does not load, or the target is not an estimator class.
        AmbiguousPluginError: two third parties register the name.
        LookupError: no plugin registers the name.

    Example:
        >>> from aleator import infer
        >>> try:
        ...     infer.get_estimator("nobody/Nothing")
        ... except LookupError as error:
        ...     print(str(error).partition(";")[0])
        no plugin registers 'nobody/Nothing'
    """
    return cast("type[AbstractEstimator]", _face.get(ESTIMATOR, name))
