"""Write the core's one table of plugin names, and the typed views of the modules that show them.

From the manifests of the packages in this repository and a list of names that are promised and not yet built:

- ``aleator/plugins/_official.py``: official name -> distribution;
- ``aleator/infer/__init__.pyi`` and ``aleator/handlers/__init__.pyi``: what type checkers and IDEs see. Their eager
  half is copied from the ``__init__.py`` beside them.

``python tools/generate_facade.py`` writes, with ``--check`` it compares and fails where a file is stale.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from packages import ROOT, load_packages

if TYPE_CHECKING:
    from aleator.plugins.specs import AbstractSpec

CORE = ROOT / "packages" / "aleator-core" / "src" / "aleator"
HEADER = "Written by tools/generate_facade.py from the official plugins' manifests; do not edit."
PLUGIN_API = 1

# Names that the design promises and whose packages do not register them yet: asking for one must say where it will
# come from. A name that is built, or a package that is not in the design, has no place here.
PLANNED_INFER: Mapping[str, tuple[str, ...]] = {}
PLANNED_HANDLERS: Mapping[str, tuple[str, ...]] = {}
PLANNED_INFER_KEYS: Mapping[str, tuple[str, ...]] = {}


@final
@dataclass
class Manifests:
    """What the official plugins register.

    Attributes:
        infer: name on ``aleator.infer`` -> (distribution, spec).
        handlers: name on ``aleator.handlers`` -> (distribution, spec).
        infer_keys: key -> distribution.
    """

    infer: dict[str, tuple[str, AbstractSpec]] = field(default_factory=dict)
    handlers: dict[str, tuple[str, AbstractSpec]] = field(default_factory=dict)
    infer_keys: dict[str, str] = field(default_factory=dict)


def import_core_without_running_it() -> None:
    """Make ``aleator.plugins`` importable while ``aleator/__init__`` does not run: the table may not exist yet."""
    package = types.ModuleType("aleator")
    package.__path__ = [str(CORE)]
    sys.modules["aleator"] = package


def read_manifests() -> Manifests:
    """Import each package's manifest and call its hooks."""
    found = Manifests()
    for package in load_packages().values():
        sys.path.insert(0, str(package.source))
        for module in package.entry_points.values():
            manifest = importlib.import_module(module)
            if manifest.ALEATOR_PLUGIN_API != PLUGIN_API:
                sys.exit(f"{module}: built for API {manifest.ALEATOR_PLUGIN_API}, this generator knows {PLUGIN_API}")
            for hook, table in (
                ("aleator_estimators", found.infer),
                ("aleator_algorithms", found.infer),
                ("aleator_handlers", found.handlers),
            ):
                for spec in _call(manifest, hook):
                    _claim(table, spec.name, (package.name, spec), package.name)
            for key in _call(manifest, "aleator_infer_keys"):
                # Two plugins may read one key; the first in the order of dependence is named.
                found.infer_keys.setdefault(key, package.name)
    return found


def _call(manifest: types.ModuleType, hook: str) -> Iterable[Any]:
    function: Callable[[], Iterable[Any]] = getattr(manifest, hook, tuple)
    return function()


def _claim(table: dict[str, Any], name: str, value: object, distribution: str) -> None:
    if "/" in name:
        sys.exit(f"{distribution}: an official name has no vendor, found {name!r}")
    if name in table:
        sys.exit(f"{distribution}: the name {name!r} is taken by {table[name][0]}")
    table[name] = value


def official_table(found: Manifests) -> str:
    """Return the source of ``plugins/_official.py``."""
    infer = {name: distribution for name, (distribution, _) in found.infer.items()}
    handlers = {name: distribution for name, (distribution, _) in found.handlers.items()}
    lines = [
        '"""Which official distribution provides which name."""',
        "",
        f"# {HEADER}",
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        "from aleator.plugins.official_names import OfficialNames",
        "",
        '__all__ = ["OFFICIAL"]',
        "",
        "OFFICIAL: Final = OfficialNames(",
        *_mapping("infer", with_planned(infer, PLANNED_INFER)),
        *_mapping("handlers", with_planned(handlers, PLANNED_HANDLERS)),
        *_mapping("infer_keys", with_planned(found.infer_keys, PLANNED_INFER_KEYS)),
        ")",
    ]
    return "\n".join(lines) + "\n"


def with_planned(built: Mapping[str, str], planned: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return what is registered and what is promised; a promise that was kept must leave the list."""
    table = dict(built)
    for distribution, names in planned.items():
        for name in names:
            if name in built:
                sys.exit(f"tools/generate_facade.py: {name!r} is built: take it off the planned names")
            table[name] = distribution
    return table


def _mapping(keyword: str, table: Mapping[str, str]) -> Iterator[str]:
    yield f"    {keyword}={{"
    for name in sorted(table):
        yield f'        "{name}": "{table[name]}",'
    yield "    },"


def stub(module: Path, specs: Mapping[str, tuple[str, AbstractSpec]]) -> str:
    """Return the typed view of a module: its eager names, and the registered ones from where their targets are."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    public = _public_names(tree)
    imports = list(_eager_imports(tree, public))
    imports += [_lazy_import(name, spec) for name, (_, spec) in specs.items()]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in public]
    estimators = sorted(name for name, (_, spec) in specs.items() if spec.label == "estimator")
    covered = {line.rpartition(" ")[2] for line in imports} | {node.name for node in functions}
    if public - covered:
        sys.exit(f"{module}: cannot tell where {sorted(public - covered)} come from")
    has_overloads = bool(estimators) and any(node.name == "get_estimator" for node in functions)
    lines = [f"# {HEADER}", ""]
    lines += ["from typing import Literal, overload", ""] if has_overloads else []
    lines += sorted(imports, key=_import_order)
    lines += ["", "__all__ = [", *(f'    "{name}",' for name in sorted(public, key=_name_order)), "]"]
    if functions:
        lines.append("")
    for node in functions:
        lines += _overloads(node, estimators) if node.name == "get_estimator" and has_overloads else [_signature(node)]
    return "\n".join(lines) + "\n"


def _public_names(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


def _eager_imports(tree: ast.Module, public: set[str]) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                if name in public:
                    yield f"from {node.module} import {alias.name} as {name}"


def _lazy_import(name: str, spec: AbstractSpec) -> str:
    module, colon, attribute = spec.target.partition(":")
    if not colon:
        module, _, attribute = module.rpartition(".")
    return f"from {module} import {attribute} as {name}"


def _name_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order in which ruff sorts names."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2, name)


def _import_order(line: str) -> tuple[str, tuple[int, str]]:
    _, module, _, name, *_ = line.split()
    kind, _ = _name_order(name)
    return module, (kind, name.lower())


def _signature(node: ast.FunctionDef, first: str = "", result: str = "") -> str:
    arguments = first or ast.unparse(node.args)
    returns = result or (ast.unparse(node.returns) if node.returns else "None")
    return f"def {node.name}({arguments}) -> {returns}: ..."


def _overloads(node: ast.FunctionDef, estimators: Iterable[str]) -> Iterator[str]:
    argument = node.args.args[0].arg
    for name in estimators:
        yield "@overload"
        yield _signature(node, f'{argument}: Literal["{name}"]', f"type[{name}]")
    yield "@overload"
    yield _signature(node)


def main() -> None:
    """Write the files, or compare them."""
    import_core_without_running_it()
    found = read_manifests()
    texts = {
        CORE / "plugins" / "_official.py": official_table(found),
        CORE / "infer" / "__init__.pyi": stub(CORE / "infer" / "__init__.py", found.infer),
        CORE / "handlers" / "__init__.pyi": stub(CORE / "handlers" / "__init__.py", found.handlers),
    }
    stale = False
    for path, new in texts.items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if "--check" not in sys.argv:
            path.write_text(new, encoding="utf-8")
        elif old != new:
            stale = True
            print(f"{path.relative_to(ROOT).as_posix()} is stale; run: python tools/generate_facade.py")
            print(
                "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), "written", "found", "", "", 0, ""))
            )
    sys.exit(stale)


if __name__ == "__main__":
    main()
