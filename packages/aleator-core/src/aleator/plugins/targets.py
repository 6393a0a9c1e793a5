"""A registered name -> the object it stands for."""

from __future__ import annotations

import importlib

from aleator.errors import PluginLoadError
from aleator.plugins.kinds import Kind
from aleator.plugins.records import PluginRecord, describe_error
from aleator.plugins.specs import AbstractSpec

__all__ = ["load_target"]


def load_target(kind: Kind, spec: AbstractSpec, record: PluginRecord) -> object:
    """Import the target of a spec.

    Raises:
        PluginLoadError: it does not import, or is not what its kind asks for. Nothing is remembered: the next use
            tries again.
    """
    where = f"{kind.label} {spec.name!r} of {record.label}"
    try:
        target = _import(spec.target)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a plugin must not end the process
        raise PluginLoadError(
            f"{where}: its target {spec.target} did not load: {describe_error(error)}; "
            f"report it to the authors of {record.distribution}"
        ) from error
    if kind.contract is not None:
        base = _import(kind.contract)
        if not (isinstance(base, type) and isinstance(target, type) and issubclass(target, base)):
            raise PluginLoadError(
                f"{where}: its target {spec.target} is {_described(target)}, where a class derived from "
                f"{kind.contract.replace(':', '.')} belongs; report it to the authors of {record.distribution}"
            )
    return target


def _import(target: str) -> object:
    module, _, attribute = target.partition(":")
    found: object = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found


def _described(target: object) -> str:
    return (
        f"the class {target.__qualname__}" if isinstance(target, type) else f"an object of type {type(target).__name__}"
    )
