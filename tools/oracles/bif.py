"""A strict reader of Bayesian networks in the interchange format ``.bif``, 0.15 (Cozman 1998)."""

from __future__ import annotations

import gzip
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, final

__all__ = ["Network", "NetworkFormatError", "Node", "parse_network", "read_network"]

ROW_TOLERANCE = 1e-3  # published tables are rounded

_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"[^"]*"|[{}()\[\];,|]|[^\s{}()\[\];,|"]+|"', re.DOTALL)


class NetworkFormatError(ValueError):
    """A text is no network; the message names the source, the line and what was expected there."""


@final
@dataclass(frozen=True, slots=True)
class Node:
    """A variable and its table.

    Attributes:
        name: its name.
        states: the names of its values.
        parents: what it depends on.
        rows: for each combination of the parents' values, the last parent fastest, the probabilities as they are
            written: a row may miss 1 by rounding.
    """

    name: str
    states: tuple[str, ...]
    parents: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]


@final
@dataclass(frozen=True, slots=True)
class Network:
    """A Bayesian network.

    Attributes:
        name: as the text has it.
        nodes: parents before their children, otherwise in the order of the text.
    """

    name: str
    nodes: Mapping[str, Node]

    def sizes(self) -> dict[str, int]:
        """Return how many values each variable has."""
        return {name: len(node.states) for name, node in self.nodes.items()}


def read_network(path: Path) -> Network:
    """Read a ``.bif`` or ``.bif.gz`` file.

    Raises:
        NetworkFormatError: for whatever is not a complete network.
        OSError: where the file cannot be read.
    """
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    return parse_network(text, path.name)


def parse_network(text: str, source: str = "text") -> Network:
    """Read a network: every variable with exactly one table, every combination of parents with exactly one row.

    Raises:
        NetworkFormatError: for whatever is not a complete network.

    Example:
        >>> coin = "network n { } variable c { type discrete [ 2 ] { h, t }; } probability ( c ) { table 0.5, 0.5; }"
        >>> parse_network(coin).nodes["c"].rows
        ((0.5, 0.5),)
    """
    return _Reader(text, source).network()


@final
class _Reader:
    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self._tokens = [match for match in _TOKEN.finditer(text) if not match.group().startswith(("//", "/*"))]
        self._next = 0
        self._states: dict[str, tuple[str, ...]] = {}
        self._nodes: dict[str, Node] = {}

    def network(self) -> Network:
        self._expect("network")
        name = self._word("the network's name")
        self._expect("{")
        self._skip_properties()
        while self._next < len(self._tokens):
            kind = self._word("'variable' or 'probability'")
            if kind == "variable":
                self._variable()
            elif kind == "probability":
                self._probability()
            else:
                self._fail(f"expected 'variable' or 'probability', found {kind!r}")
        for variable in self._states:
            if variable not in self._nodes:
                self._fail(f"the variable {variable!r} has no table of probabilities")
        return Network(name, self._ordered())

    def _variable(self) -> None:
        name = self._word("a variable's name")
        if name in self._states:
            self._fail(f"the variable {name!r} is declared twice")
        for expected in ("{", "type", "discrete", "["):
            self._expect(expected)
        count = self._word("the number of values")
        self._expect("]")
        self._expect("{")
        states = tuple(self._list("}"))
        self._expect(";")
        if not count.isdigit() or int(count) != len(states) or len(set(states)) != len(states):
            self._fail(f"the variable {name!r} declares {count} values and lists {len(states)}: {', '.join(states)}")
        self._skip_properties()
        self._states[name] = states

    def _probability(self) -> None:
        self._expect("(")
        child = self._word("a variable's name")
        separator = self._take("')' or '|'")
        parents = tuple(self._list(")")) if separator == "|" else ()
        if separator not in (")", "|"):
            self._fail(f"expected ')' or '|' after {child!r}, found {separator!r}")
        for name in (child, *parents):
            if name not in self._states:
                self._fail(f"the table of {child!r} names {name!r}, which is not declared before it")
        if child in self._nodes or len({child, *parents}) != 1 + len(parents):
            self._fail(f"{child!r} has two tables, or one parent twice")
        self._expect("{")
        rows, default = self._rows(child, parents)
        combinations = list(itertools.product(*(self._states[parent] for parent in parents)))
        missing = [each for each in combinations if each not in rows]
        if missing and default is None:
            self._fail(f"the table of {child!r} has no row for {len(missing)} combinations, ({', '.join(missing[0])})")
        found = tuple(rows.get(each) or default or () for each in combinations)
        self._nodes[child] = Node(child, self._states[child], parents, found)

    def _rows(
        self, child: str, parents: tuple[str, ...]
    ) -> tuple[dict[tuple[str, ...], tuple[float, ...]], tuple[float, ...] | None]:
        rows: dict[tuple[str, ...], tuple[float, ...]] = {}
        default = None
        while (kind := self._take("a row or '}'")) != "}":
            if kind == "property":
                self._skip_to_semicolon()
            elif kind == "default" and default is None:
                default = self._numbers(child)
            elif kind == "table" and not parents:
                kind = "("
                self._add_row(rows, child, (), self._numbers(child))
            elif kind == "(" and parents:
                given = tuple(self._list(")"))
                states = [self._states[parent] for parent in parents]
                if len(given) != len(parents) or any(value not in of for value, of in zip(given, states, strict=True)):
                    self._fail(f"the table of {child!r} has a row for ({', '.join(given)}), not values of its parents")
                self._add_row(rows, child, given, self._numbers(child))
            else:
                # A whole table with parents is refused: programs disagree on which of its indices is the fastest.
                self._fail(f"the table of {child!r}: expected a row for values of {parents}, found {kind!r}")
        return rows, default

    def _add_row(
        self,
        rows: dict[tuple[str, ...], tuple[float, ...]],
        child: str,
        given: tuple[str, ...],
        numbers: tuple[float, ...],
    ) -> None:
        if given in rows:
            self._fail(f"the table of {child!r} has two rows for ({', '.join(given)})")
        rows[given] = numbers

    def _numbers(self, child: str) -> tuple[float, ...]:
        words = list(self._list(";"))
        try:
            numbers = tuple(float(word) for word in words)
        except ValueError:
            self._fail(f"the table of {child!r}: expected numbers, found {', '.join(words)}")
        if len(numbers) != len(self._states[child]):
            self._fail(f"the table of {child!r}: {len(numbers)} numbers for {len(self._states[child])} values")
        if not all(0 <= number <= 1 for number in numbers) or abs(math.fsum(numbers) - 1) > ROW_TOLERANCE:
            self._fail(f"the table of {child!r}: {', '.join(words)} are no probabilities, their sum is {sum(numbers)}")
        return numbers

    def _ordered(self) -> dict[str, Node]:
        ordered: dict[str, Node] = {}
        while len(ordered) < len(self._nodes):
            ready = [
                node
                for name, node in self._nodes.items()
                if name not in ordered and all(parent in ordered for parent in node.parents)
            ]
            if not ready:
                self._fail(f"{', '.join(name for name in self._nodes if name not in ordered)} depend on themselves")
            ordered.update((node.name, node) for node in ready)
        return ordered

    def _skip_properties(self) -> None:
        while (found := self._take("a property or '}'")) != "}":
            if found != "property":
                self._fail(f"expected 'property' or '}}', found {found!r}")
            self._skip_to_semicolon()

    def _skip_to_semicolon(self) -> None:
        while self._take("';'") != ";":
            pass

    def _list(self, end: str) -> Iterator[str]:
        separator = ","
        while separator == ",":
            yield self._word(f"an element before {end!r}")
            separator = self._take(f"',' or {end!r}")
        if separator != end:
            self._fail(f"expected ',' or {end!r}, found {separator!r}")

    def _word(self, what: str) -> str:
        word = self._take(what)
        if word in set('{}()[];,|"'):
            self._fail(f"expected {what}, found {word!r}")
        return word.strip('"')

    def _expect(self, expected: str) -> None:
        found = self._take(repr(expected))
        if found != expected:
            self._fail(f"expected {expected!r}, found {found!r}")

    def _take(self, what: str) -> str:
        if self._next == len(self._tokens):
            self._fail(f"expected {what}, found the end")
        self._next += 1
        return self._tokens[self._next - 1].group()

    def _fail(self, problem: str) -> NoReturn:
        at = self._tokens[min(self._next, len(self._tokens)) - 1].start() if self._tokens and self._next else 0
        raise NetworkFormatError(f"{self._source}, line {self._text.count(chr(10), 0, at) + 1}: {problem}")
