"""The four hooks of a plugin: each returns descriptions, and none runs while a program samples.

A hook takes no argument. Implement those you need as functions of one light module, your *manifest*; name that module
in the entry-point group ``aleator`` of your distribution, and state the plugin API it was written for::

    # pyproject.toml
    [project.entry-points.aleator]
    vr = "acme_vr._plugin"
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from aleator.plugins.specs import AlgorithmSpec, EstimatorSpec, HandlerSpec

__all__ = ["aleator_algorithms", "aleator_estimators", "aleator_handlers", "aleator_infer_keys", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("aleator")
hookimpl = pluggy.HookimplMarker("aleator")


@hookspec
def aleator_estimators() -> Iterable[EstimatorSpec]:
    """Return the estimators that this plugin offers.

    Called when: a name that may be this plugin's is first looked up, through ``aleator.infer`` or as ``loss="..."``.
    Once per process, unless ``aleator.plugins.refresh()`` asks for a new discovery.

    Example:
        >>> from collections.abc import Iterable
        >>> from aleator.plugins import EstimatorSpec, hookimpl
        >>> ALEATOR_PLUGIN_API = 1
        >>> @hookimpl
        ... def aleator_estimators() -> Iterable[EstimatorSpec]:
        ...     yield EstimatorSpec(name="acme/VRMax", target="acme_vr.estimator:VRMax", summary="Largest particle.")
        >>> [spec.name for spec in aleator_estimators()]
        ['acme/VRMax']
    """
    return ()


@hookspec
def aleator_handlers() -> Iterable[HandlerSpec]:
    """Return the handlers that this plugin offers; it names them, and puts none on a stack.

    Called when: a handler's name that may be this plugin's is first looked up through ``aleator.handlers``. Once per
    process, unless ``aleator.plugins.refresh()`` asks for a new discovery.

    Example:
        >>> from collections.abc import Iterable
        >>> from aleator.plugins import HandlerSpec, hookimpl
        >>> ALEATOR_PLUGIN_API = 1
        >>> @hookimpl
        ... def aleator_handlers() -> Iterable[HandlerSpec]:
        ...     yield HandlerSpec(name="acme/freeze", target="acme_vr.freeze:freeze", summary="Holds sites fixed.")
        >>> [spec.name for spec in aleator_handlers()]
        ['acme/freeze']
    """
    return ()


@hookspec
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    """Return what this plugin offers beside estimators and handlers: training loops, samplers, compilers.

    Called when: an algorithm's name that may be this plugin's is first looked up through ``aleator.infer``. Once per
    process, unless ``aleator.plugins.refresh()`` asks for a new discovery.

    Example:
        >>> from collections.abc import Iterable
        >>> from aleator.plugins import AlgorithmSpec, hookimpl
        >>> ALEATOR_PLUGIN_API = 1
        >>> @hookimpl
        ... def aleator_algorithms() -> Iterable[AlgorithmSpec]:
        ...     yield AlgorithmSpec(name="acme/Anneal", target="acme_vr.anneal:Anneal", summary="Annealed training.")
        >>> [spec.name for spec in aleator_algorithms()]
        ['acme/Anneal']
    """
    return ()


@hookspec
def aleator_infer_keys() -> Iterable[str]:
    """Return the keys of a site's ``infer`` mapping that this plugin reads.

    Called when: a program first uses an ``infer`` key that neither the core nor an official plugin knows; a key that
    nobody declares is taken for a misspelling and warned about. Once per process, unless
    ``aleator.plugins.refresh()`` asks for a new discovery.

    Example:
        >>> from collections.abc import Iterable
        >>> from aleator.plugins import hookimpl
        >>> ALEATOR_PLUGIN_API = 1
        >>> @hookimpl
        ... def aleator_infer_keys() -> Iterable[str]:
        ...     return ["acme_temperature"]
        >>> aleator_infer_keys()
        ['acme_temperature']
    """
    return ()
