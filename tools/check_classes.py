"""Rule 3: a class is abstract or final.

Abstract: it derives from ``ABC``, has ``ABCMeta`` (or a metaclass that the file derives from it) or declares an
abstract method, or is a ``Protocol``. Final: it carries ``@final``. Enumerations, named tuples and typed dicts are
data and count as final; exceptions form a hierarchy by intent. Exceptions to the rule are in ``tools/allowed.toml``
under ``classes``.
"""

from __future__ import annotations

import ast

from sources import Exceptions, definitions, finish, name_of, package_files, parse, relative

ABSTRACT_BASES = {"ABC", "Protocol"}
DATA_BASES = {"NamedTuple", "TypedDict", "Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"}


def is_abstract(node: ast.ClassDef) -> bool:
    """Whether a class says that it cannot be made."""
    if any(name_of(base) in ABSTRACT_BASES for base in node.bases):
        return True
    if any(keyword.arg == "metaclass" and "ABCMeta" in name_of(keyword.value) for keyword in node.keywords):
        return True
    methods = [child for child in node.body if isinstance(child, ast.FunctionDef)]
    return any(name_of(mark) == "abstractmethod" for method in methods for mark in method.decorator_list)


def is_final(node: ast.ClassDef) -> bool:
    """Whether a class says that it is not to be subclassed, or is plain data."""
    if any(name_of(mark) == "final" for mark in node.decorator_list):
        return True
    return any(name_of(base) in DATA_BASES for base in node.bases)


def is_exception(node: ast.ClassDef) -> bool:
    """Whether a class is an exception or a warning, by its name and by its bases' names."""
    return any(name.endswith(("Error", "Warning", "Exception")) for name in map(name_of, node.bases))


def main() -> None:
    """Print every class that is neither."""
    allowed = Exceptions.load("classes")
    problems, count = [], 0
    for path in package_files():
        for name, node in definitions(parse(path)):
            if not isinstance(node, ast.ClassDef):
                continue
            count += 1
            key = f"{relative(path)}::{name}"
            if not (is_abstract(node) or is_final(node) or is_exception(node) or allowed.find(key)):
                problems.append(f"{key} (line {node.lineno}) is neither abstract nor @final")
    finish(problems + allowed.problems(), f"{count} classes are abstract or final")


if __name__ == "__main__":
    main()
