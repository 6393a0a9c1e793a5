"""Write ``packages/<distribution>/api.txt``: the public names of a package with their signatures.

A change of the interface then shows in the diff. Public is what a module without a leading underscore lists in
``__all__``. A name is described where it is defined, elsewhere it only points there; names that arrive from plugins
are listed as such. ``python tools/generate_api.py`` writes, with ``--check`` it compares and fails where a file is
stale.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType

from packages import Package, load_packages
from sources import relative

EMPTY = inspect.Parameter.empty


def public_modules(package: Package) -> Iterator[str]:
    """Yield the dotted names of a package's modules without a leading underscore."""
    for path in sorted(package.source.rglob("*.py")):
        parts = path.relative_to(package.source).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            yield ".".join(parts)


def _annotation(value: object) -> str:
    return value if isinstance(value, str) else str(inspect.formatannotation(value))


def _default(value: object) -> str:
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__)
    text = repr(value)
    return "..." if "<" in text or len(text) > 60 else text


def _parameter(parameter: inspect.Parameter) -> str:
    text = parameter.name
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        text = f"*{text}"
    elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
        text = f"**{text}"
    if parameter.annotation is not EMPTY:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not EMPTY:
        text += f" = {_default(parameter.default)}" if ":" in text else f"={_default(parameter.default)}"
    return text


def signature(value: object) -> str:
    """Return a callable's signature as its source would write it."""
    try:
        found = inspect.signature(value)  # type: ignore[arg-type]  # what is no callable raises, and is caught
    except (TypeError, ValueError):
        return "(...)"
    parts: list[str] = []
    previous = None
    for parameter in found.parameters.values():
        if previous is inspect.Parameter.POSITIONAL_ONLY and parameter.kind is not previous:
            parts.append("/")
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and previous not in (
            inspect.Parameter.KEYWORD_ONLY,
            inspect.Parameter.VAR_POSITIONAL,
        ):
            parts.append("*")
        parts.append(_parameter(parameter))
        previous = parameter.kind
    if previous is inspect.Parameter.POSITIONAL_ONLY:
        parts.append("/")
    result = "" if found.return_annotation is EMPTY else f" -> {_annotation(found.return_annotation)}"
    return f"({', '.join(parts)}){result}"


def _member(name: str, value: object) -> str:
    if isinstance(value, property):
        returned = inspect.signature(value.fget).return_annotation if value.fget else EMPTY
        return f"{name}: {'property' if returned is EMPTY else _annotation(returned)}"
    kind = "static " if isinstance(value, staticmethod) else "class " if isinstance(value, classmethod) else ""
    function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
    if inspect.isfunction(function):
        abstract = "abstract " if getattr(function, "__isabstractmethod__", False) else ""
        return f"{abstract}{kind}{name}{signature(function)}"
    return f"{name}: {type(value).__name__}"


def describe_class(name: str, cls: type) -> Iterator[str]:
    """Yield a class's line, then one for each public member that it defines itself."""
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"class {name}{signature(cls)}" + (f" of {bases}" if bases else "")
    annotations = inspect.get_annotations(cls)
    members = {each: f"{each}: {_annotation(kind)}" for each, kind in annotations.items() if not each.startswith("_")}
    for each, value in vars(cls).items():
        if not each.startswith("_") and each not in members:
            members[each] = _member(each, value)
    yield from (f"    {members[each]}" for each in sorted(members))


def describe(name: str, module: ModuleType) -> Iterator[str]:
    """Yield the lines of one public name of a module."""
    if name not in vars(module):
        yield f"{name}: from a plugin"
        return
    value = vars(module)[name]
    home = getattr(value, "__module__", module.__name__)
    if isinstance(value, ModuleType):
        yield f"{name}: module {value.__name__}"
    elif home != module.__name__ and (inspect.isclass(value) or inspect.isroutine(value)):
        yield f"{name} = {home}.{value.__qualname__}"
    elif inspect.isclass(value):
        yield from describe_class(name, value)
    elif inspect.isroutine(value):
        yield f"{name}{signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def api_of(package: Package) -> str:
    """Return the text of a package's ``api.txt``."""
    lines = [f"# {package.name}: the public names; written by tools/generate_api.py"]
    for dotted in public_modules(package):
        module = importlib.import_module(dotted)
        names = getattr(module, "__all__", ())
        if names:
            lines += ["", dotted]
            lines += [f"    {line}" for name in sorted(names) for line in describe(name, module)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write every package's file, or compare it."""
    stale = False
    packages = load_packages()
    sys.path[:0] = [str(package.source) for package in packages.values()]
    for package in packages.values():
        if package.import_name is None:
            continue
        path = package.folder / "api.txt"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = api_of(package)
        if "--check" not in sys.argv:
            path.write_text(new, encoding="utf-8")
        elif old != new:
            stale = True
            print(f"{relative(path)} is stale; run: python tools/generate_api.py")
            print(
                "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), "written", "found", "", "", 0, ""))
            )
    sys.exit(stale)


if __name__ == "__main__":
    main()
