"""Each check sees what it is there for, and lets the honest twin pass."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

import check_classes
import check_host_reads
import check_imports
import check_modules
import check_rules
import check_sizes
import check_state
from packages import Package, closure, dependents, requirement_name
from sources import Exceptions


def package(name, *requirements, import_name=None, points=None):
    siblings = tuple(requirement_name(each) for each in requirements if each.startswith("aleator"))
    return Package(name, "0.1.0", requirements, siblings, import_name, points or {})


GRAPH = {
    "aleator-core": package("aleator-core", "torch>=2", "pluggy>=1", import_name="aleator"),
    "aleator-a": package(
        "aleator-a", "aleator-core~=0.1.0", import_name="aleator_a", points={"a": "aleator_a._plugin"}
    ),
    "aleator-b": package("aleator-b", "aleator-a~=0.1.0", import_name="aleator_b"),
}
OWNERS = {each.import_name: each.name for each in GRAPH.values()}


def test_closures_follow_what_is_declared():
    assert closure("aleator-b", GRAPH) == ("aleator-core", "aleator-a", "aleator-b")
    assert closure("aleator-core", GRAPH) == ("aleator-core",)
    assert dependents("aleator-a", GRAPH) == ("aleator-a", "aleator-b")


@pytest.mark.parametrize(
    ("name", "file", "module", "member", "found"),
    [
        ("aleator-core", "aleator/trace.py", "aleator_a", "", "does not declare aleator-a"),
        ("aleator-core", "aleator/trace.py", "numpy", "", "does not declare numpy"),
        ("aleator-core", "aleator/trace.py", "pluggy", "", "pluggy belongs to aleator.plugins"),
        ("aleator-core", "aleator/plugins/manager.py", "pluggy", "", None),
        ("aleator-a", "aleator_a/svi.py", "aleator.trace", "Trace", None),
        ("aleator-a", "aleator_a/svi.py", "torch", "", None),
        ("aleator-a", "aleator_a/svi.py", "aleator.trace", "_merge", "private to aleator-core"),
        ("aleator-a", "aleator_a/svi.py", "aleator._inner", "x", "private to aleator-core"),
        ("aleator-a", "aleator_a/_plugin.py", "aleator.trace", "Trace", "imports aleator.plugins alone"),
        ("aleator-a", "aleator_a/_plugin.py", "aleator.plugins", "hookimpl", None),
        ("aleator-b", "aleator_b/x.py", "aleator", "sample", "does not declare aleator-core"),
    ],
)
def test_imports(name, file, module, member, found):
    owner = GRAPH[name]
    problem = check_imports.problem(owner, OWNERS, owner.source / file, module, member)
    assert problem is None if found is None else found in str(problem)


def test_what_an_extra_brings_is_imported_late():
    """Catches an import at the top: the package would need what it calls optional."""
    extra = dataclasses.replace(GRAPH["aleator-a"], extras=("pytest>=8", "aleator-b"))
    for module in ("pytest", "aleator_b"):
        where = (extra, OWNERS, extra.source / "aleator_a/svi.py", module, "x")
        assert "is an extra of aleator-a" in str(check_imports.problem(*where))
        assert check_imports.problem(*where, late=True) is None
    code = "import a\ndef f():\n    import b\nclass C:\n    import c\nif TYPE_CHECKING:\n    import d\n"
    assert check_imports.late_lines(ast.parse(code)) == {3, 7}


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("x.item()", True),
        ("float(x)", True),
        ("bool(x > 0)", True),
        ("if (x > 0).any(): pass", True),
        ("assert torch.allclose(a, b)", True),
        ("not x.all()", True),
        ("float(3)", False),
        ("bool(fn.has_rsample)", False),
        ("d.items()", False),
        ("(x > 0).all()", False),
    ],
)
def test_host_reads(code, read):
    assert bool(list(check_host_reads.reads(ast.parse(code)))) is read


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("X = {}\ndef f(): X['a'] = 1", True),
        ("X = []\ndef f(): X.append(1)", True),
        ("X: dict = WeakIdKeyDictionary()\ndef f(): X.pop(1)", True),
        ("X = 1\ndef f():\n    global X\n    X = 2", True),
        ("@lru_cache(maxsize=8)\ndef f(): return 1", True),
        ("X = {'a': 1}\ndef f(): return X['a']", False),
        ("X = ContextVar('x', default=())\ndef f(): X.set(1)", False),
        ("def f():\n    x = {}\n    x['a'] = 1", False),
    ],
)
def test_state(code, kept):
    assert bool(list(check_state.kept_state(ast.parse(code)))) is kept


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("class A: pass", False),
        ("class A(Messenger): pass", False),
        ("@final\nclass A(Messenger): pass", True),
        ("@typing.final\n@dataclass\nclass A: pass", True),
        ("class A(ABC): pass", True),
        ("class A(Generic[T], metaclass=ABCMeta): pass", True),
        ("class A:\n    @abstractmethod\n    def f(self): ...", True),
        ("class A(NamedTuple): pass", True),
        ("class A(ValueError): pass", True),
    ],
)
def test_classes(code, allowed):
    node = ast.parse(code).body[0]
    judges = (check_classes.is_abstract, check_classes.is_final, check_classes.is_exception)
    assert any(judge(node) for judge in judges) is allowed


def test_a_functions_docstring_does_not_count():
    plain = ast.parse("def f():\n    x = 1\n    return x").body[0]
    documented = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    x = 1\n    return x').body[0]
    assert check_sizes.function_lines(plain) == check_sizes.function_lines(documented) == 3


MARK = "# no" + "qa"


@pytest.mark.parametrize(
    ("comment", "problems"),
    [
        (f"{MARK}: F401  # re-exported", 0),
        (f"{MARK}: F401", 1),
        (f"{MARK}  # because", 1),
        ("# type: " + "ignore[arg-type]  # torch's stub is wrong", 0),
        ("# type: " + "ignore  # torch's stub is wrong", 1),
        ("# plain words", 0),
    ],
)
def test_suppressions(tmp_path, monkeypatch, comment, problems):
    monkeypatch.setattr(check_modules, "relative", Path.as_posix)
    file = tmp_path / "module.py"
    file.write_text(f"import os  {comment}\n", encoding="utf-8")
    assert len(check_modules.bare_suppressions(file)) == problems


@pytest.mark.parametrize(
    ("holder", "holds"),
    [
        ("contract: layers", True),
        ("contract: no such", False),
        ("ruff: TID251", True),
        ("ruff: XYZ1", False),
        ("tools/check_rules.py", True),
        ("tools/check_nothing.py", False),
        ("noxfile.py", False),
        ("tools/tests/test_checks.py::test_rules", True),
        ("tools/tests/test_checks.py::test_nothing", False),
    ],
)
def test_rules(holder, holds):
    settings = {"importlinter": {"contracts": [{"name": "layers"}]}, "ruff": {"lint": {"select": ["TID", "E"]}}}
    assert (check_rules.problem(holder, settings) is None) is holds


def test_an_exception_that_nothing_needs_is_a_problem():
    allowed = Exceptions("sizes", {"a": {"reason": "for now"}, "b": {"reason": ""}})
    assert allowed.find("b") is not None
    assert [text.split(":")[1] for text in allowed.problems()] == [
        " sizes.'a' is needed no more",
        " sizes.'b' lacks a reason",
    ]


def test_an_exception_may_be_for_a_folder():
    allowed = Exceptions("sizes", {"a/b/": {"reason": "all of it"}, "a/b/c.py::f": {"reason": "its own"}})
    assert allowed.find("a/bc.py") is None
    assert [allowed.find(key)["reason"] for key in ("a/b/d.py", "a/b/c.py::f")] == ["all of it", "its own"]
    assert not allowed.problems()
