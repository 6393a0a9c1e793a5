"""What a program finds outside its arguments: tensors, which are passed at each call, and all else, which is a key."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, final

from torch import Tensor

from aleator_jit_estimators import kinds
from aleator_jit_estimators.namespaces import Namespace
from aleator_jit_estimators.visiting import visit
from aleator_jit_estimators.visiting_code import ClassOf
from aleator_jit_estimators.watch import Watch, describe

__all__ = ["Key", "Reached", "reach"]

_MOST = 50_000


@final
class Key:
    """Parts that are compared one by one, and hashed once."""

    __slots__ = ("_hash", "parts")

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts
        self._hash = hash(parts)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Key) and self._hash == other._hash and self.parts == other.parts)

    def __hash__(self) -> int:
        return self._hash


@final
class Reached:
    """What was found, in an order that the key fixes.

    Attributes:
        tensors: every tensor once, in the order in which it was met.
        key: equal where two programs differ in the contents of their tensors at most.
        refusal: why no key can stand for the program, or ``None``.
        packages: the packages whose code takes part and was told by name.
        mentions: names that code may look up in any object; ``"*"`` where it makes them up.
        spaces: namespaces of which only mentioned names matter.
        watch: the places that were looked at.
    """

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.key = Key(())
        self.refusal: str | None = None
        self.packages: set[str] = set()
        self.mentions: set[str] = set(kinds.PROTOCOLS)
        self.spaces: list[Namespace] = []
        self.watch = Watch()
        self._at: dict[int, int] = {}
        self._classes: dict[int, int] = {}
        self._kept: list[Any] = []
        self._lookups: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self._parts: list[Any] = []
        self._paths: list[str] = []
        self._queue: deque[tuple[str, Any]] = deque()
        self._seen: dict[int, int] = {}

    def is_current(self) -> bool:
        """Tell whether a new walk would find the same objects: cheap, for each call."""
        return self.watch.holds()

    def difference(self, other: Reached) -> str | None:
        """Return the first place at which two walks from the same start found different things."""
        for mine, its, path in zip(self._parts, other._parts, self._paths, strict=False):
            if mine != its:
                return path
        return None if len(self._parts) == len(other._parts) else "what the program is made of"

    def walk(self, path: str, value: Any) -> None:  # noqa: ANN401  # anything a program may find
        """Note a value and all that it leads to."""
        self.enqueue(path, [value])
        while self._queue and self.refusal is None:
            self._empty_queue()
            for space in list(self.spaces):
                for name, item in space.newly(self.mentions):
                    self.note(space.path, ("name", name))
                    self.enqueue(f"{space.path}.{name}", [item])

    def finish(self) -> None:
        """Fix the key and the places, once everything is walked."""
        self.key = Key(tuple(self._parts))
        for space in self.spaces:
            space.watch(self.watch)
        for mapping, names in self._lookups.values():
            present = sorted(names & mapping.keys())
            self.watch.add_names(mapping, present, names - set(present))

    def note(self, path: str, part: Any) -> None:  # noqa: ANN401  # hashable
        """Add a part to the key."""
        self._parts.append(part)
        self._paths.append(path)

    def refuse(self, path: str, reason: str) -> None:
        """Say why the program has no key; the first reason counts."""
        if self.refusal is None:
            self.refusal = f"{reason} ({path})"

    def enqueue(self, path: str, values: Iterable[Any]) -> None:
        """Have values walked later."""
        self._queue.extend((path, each) for each in values)

    def enqueue_class(self, path: str, cls: type) -> None:
        """Have the class of an instance walked later, but for what makes instances."""
        if id(cls) in self._classes:
            self.note(path, ("class again", self._classes[id(cls)]))
            return
        self._classes[id(cls)] = len(self._classes)
        self.enqueue(path, [ClassOf(cls)])

    def look_up(self, space: Mapping[str, Any], name: str) -> None:
        """Watch a name that code looks up in a module."""
        self._lookups.setdefault(id(space), (space, set()))[1].add(name)

    def official(self, path: str, module: str, name: str = "") -> None:
        """Name something of a package whose version, or whose sources, the package's name holds."""
        top = module.partition(".")[0]
        if not kinds.is_standard(top):
            self.packages.add(top)
        self.note(path, ("official", module, name, kinds.library_version(module)))
        if name and kinds.impure(f"{module}.{name}"):
            self.refuse(path, f"the program calls {module}.{name}, whose result changes from call to call")

    def _empty_queue(self) -> None:
        while self._queue and self.refusal is None:
            path, value = self._queue.popleft()
            self._add(path, value)
            if len(self._parts) > _MOST:
                self.refuse(path, "the program reaches too many objects to tell it from others")

    def _add(self, path: str, value: Any) -> None:  # noqa: ANN401  # anything a program may find
        if isinstance(value, Tensor):
            self._add_tensor(path, value)
        elif type(value) in kinds.ATOMS:
            self.note(path, (type(value).__name__, repr(value)))
        elif id(value) in self._seen:
            self.note(path, ("again", self._seen[id(value)]))
        else:
            self._seen[id(value)] = len(self._seen)
            self._kept.append(value)  # so that its identity stays its own
            visit(self, path, value)

    def _add_tensor(self, path: str, value: Tensor) -> None:
        at = self._at.setdefault(id(value), len(self.tensors))
        self.note(path, ("tensor", at, *describe(value)))
        if at == len(self.tensors):
            self.tensors.append(value)
            self.watch.add_tensor(value)
            content = getattr(value, "__dict__", None)
            if content:
                self.enqueue(path, [content])


def reach(*things: Any, **named: Any) -> Reached:  # noqa: ANN401  # programs, estimators, optimizers
    """Return what these lead to through closures, globals, defaults, attributes and the methods that are called."""
    found = Reached()
    for at, thing in enumerate(things):
        found.walk(f"part {at}", thing)
    for name, thing in named.items():
        found.walk(name, thing)
    found.finish()
    return found
