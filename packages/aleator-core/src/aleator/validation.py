"""Checks of values that cost one host read per run, not one per site.

Inside a run, a distribution's constructor and an observed site only *note* what must hold. The run evaluates all
notes at its end: values under one elementwise constraint are joined and compared at once, the verdicts are joined
again, and one flag is read. Only when the flag says that something is wrong are the notes walked one by one to name
the culprit. Outside a run a check reads at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from aleator import settings
from aleator.capture import values_are_readable
from aleator.errors import ParameterError, SupportError

if TYPE_CHECKING:
    from aleator.sites import Site

__all__ = ["PENDING", "PendingChecks", "check_arguments", "check_support", "is_enabled"]

Checks = tuple[tuple[str, Constraint, Any], ...]

_REAL = {constraints.real, constraints.real_vector}
_ELEMENTWISE: set[Constraint] = {
    constraints.real,
    constraints.positive,
    constraints.nonnegative,
    constraints.unit_interval,
    constraints.boolean,
    constraints.nonnegative_integer,
    constraints.positive_integer,
}


class _Note(NamedTuple):
    """One thing that must hold: a distribution's argument, or the value of a site."""

    owner: Any
    label: str
    constraint: Constraint
    value: Tensor
    mask: Tensor | None = None

    def holds(self) -> Tensor:
        """Say where the value lies in its constraint; masked elements always do."""
        verdict: Tensor = self.constraint.check(self.value)  # type: ignore[no-untyped-call]  # torch's
        return verdict if self.mask is None else verdict | ~self.mask


@final
class PendingChecks:
    """The notes of one run.

    Args:
        keep: False discards every note: nothing is checked in this run (a captured step, for instance).
    """

    __slots__ = ("_folded", "_folded_names", "keep", "notes", "owners")

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        self.notes: list[_Note] = []
        self.owners: list[tuple[Site, Any]] = []
        self._folded: list[Tensor] = []
        self._folded_names: dict[str, None] = {}

    def fold(self) -> None:
        """Replace the notes by one flag, so that a part of a run that is over can be freed.

        What the notes said is then known by name only. Takes no host read.
        """
        folded, self._folded = self._folded, []
        flag = self.violated()
        self._folded = folded if flag is None else [*folded, flag]
        for note in self.notes:
            self._folded_names[_described(note, self._site_of(note.owner))] = None
        self.notes.clear()
        self.owners.clear()

    def __len__(self) -> int:
        return len(self.notes) + len(self._folded)

    def violated(self, finite_is_known: bool = False) -> Tensor | None:
        """Return one boolean scalar, True where a note does not hold; ``None`` where there is nothing to check.

        Args:
            finite_is_known: leave out the notes that only ask for "not NaN"; the caller reads a number (the loss)
                which is NaN when one of them fails.
        """
        groups: dict[tuple[Constraint, torch.device, torch.Size | None], list[Tensor]] = {}
        verdicts: list[Tensor] = [flag.logical_not() for flag in self._folded]
        seen: set[tuple[int, Constraint, int]] = set()
        with torch.no_grad():
            for note in self.notes:
                constraint, value = note.constraint, note.value
                if finite_is_known and constraint in _REAL:
                    continue
                mark = (id(value), constraint, id(note.mask))
                if mark in seen:
                    continue
                seen.add(mark)
                if note.mask is None and constraint in _ELEMENTWISE:
                    groups.setdefault((constraint, value.device, None), []).append(value)
                elif note.mask is None and getattr(constraint, "looks_at_last_dims", False):
                    groups.setdefault((constraint, value.device, value.shape), []).append(value)
                else:
                    verdicts.append(note.holds().all())
            for (constraint, *_), values in groups.items():
                verdicts.append(constraint.check(_joined(values)).all())  # type: ignore[no-untyped-call]  # torch's
            if not verdicts:
                return None
            if len(verdicts) == 1:
                return verdicts[0].logical_not()
            device = verdicts[0].device
            return torch.stack([verdict.to(device) for verdict in verdicts]).all().logical_not()

    def raise_if_violated(self) -> None:
        """Read the one flag, and raise the named error where it is set."""
        if not len(self) or not values_are_readable():
            return
        flag = self.violated()
        if flag is not None and bool(flag):
            self.raise_culprit()
        self.remember()

    def remember(self) -> None:
        """Record, once all notes are known to hold, that observed tensors need no further check while unchanged."""
        for note in self.notes:
            value = note.value
            if isinstance(note.owner, str) and note.mask is None and not (value.requires_grad or value.is_inference()):
                _KNOWN_GOOD.add(value, note.constraint)

    def raise_culprit(self) -> None:
        """Walk the notes and raise for the first that does not hold; return where all of them hold."""
        with torch.no_grad():
            for note in self.notes:
                if not bool(note.holds().all()):
                    _raise(note, self._site_of(note.owner))
            if any(bool(flag) for flag in self._folded):
                raise ParameterError(
                    f"in an earlier particle of this run, one of these does not hold: {'; '.join(self._folded_names)}; "
                    f"estimate with num_particles=1 to see which, and the value"
                )

    def _site_of(self, owner: Any) -> str | None:  # noqa: ANN401  # a distribution or a site's name
        if isinstance(owner, str):
            return owner
        for site, fn in self.owners:
            if any(part is owner for part in _layers(fn)):
                return site.name
        return None


def _joined(values: list[Tensor]) -> Tensor:
    """All numbers in one tensor; values of one shape, the common case, are stacked, which costs a quarter."""
    first = values[0]
    if len(values) == 1:
        return first
    if all(value.shape == first.shape for value in values):
        return torch.stack(values)
    return torch.cat([value.reshape(-1) for value in values])


@final
class _KnownGood:
    """A cache, nothing more: tensors that were found inside a support, and are unchanged since.

    Data are the same tensors in every step of a full-batch run. A tensor is known by its identity, its changes by
    torch's version counter; inference tensors, which keep none, are never known.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], int, Constraint]] = {}

    def holds(self, value: Tensor, support: Constraint) -> bool:
        entry = self._entries.get(id(value))
        return entry is not None and entry[0]() is value and entry[2] == support and entry[1] == value._version

    def add(self, value: Tensor, support: Constraint) -> None:
        key = id(value)

        def forget(dead: weakref.ref[Tensor]) -> None:
            entry = self._entries.get(key)
            if entry is not None and entry[0] is dead:
                self._entries.pop(key, None)

        self._entries[key] = weakref.ref(value, forget), value._version, support


_KNOWN_GOOD = _KnownGood()

PENDING: ContextVar[PendingChecks | None] = ContextVar("aleator_pending_checks", default=None)


def is_enabled(validate_args: bool | None = None) -> bool:
    """Tell whether to check: an explicit flag wins over the context's setting."""
    return settings.get().validate if validate_args is None else validate_args


def takes_notes() -> bool:
    """Tell whether arguments that are tensors are looked at at all here: a run may discard every note."""
    pending = PENDING.get()
    return pending is None or pending.keep


def check_arguments(owner: Any, checks: Checks) -> None:  # noqa: ANN401  # any distribution
    """Note, or outside a run check at once, that each argument of a distribution lies in its constraint.

    Args:
        owner: the distribution under construction; a later error names its class and its site.
        checks: triples ``(argument, constraint, value)``; values that are no tensors are checked at once.

    Raises:
        ParameterError: outside a run, for the first argument that does not hold.
    """
    pending = PENDING.get()
    if pending is not None:
        if pending.keep:
            notes = pending.notes
            for label, constraint, value in checks:
                if isinstance(value, Tensor):
                    notes.append(_Note(owner, label, constraint, value))
                else:
                    _check_now(_Note(owner, label, constraint, torch.as_tensor(value)))
        return
    if values_are_readable():
        for label, constraint, value in checks:
            _check_now(_Note(owner, label, constraint, torch.as_tensor(value)))


def check_support(name: str, support: Constraint, value: Tensor, mask: Tensor | None = None) -> None:
    """Note, or outside a run check at once, that the value of a site lies in its support where the mask is True.

    Raises:
        SupportError: outside a run, where it does not.
    """
    while mask is None and isinstance(support, constraints.independent):
        # All elements must hold, so that the dims of an event do not matter; the part is the same object every time.
        support = support.base_constraint
    pending = PENDING.get()
    if pending is not None:
        if pending.keep and not _KNOWN_GOOD.holds(value, support):
            pending.notes.append(_Note(name, "value", support, value, mask))
    elif values_are_readable():
        _check_now(_Note(name, "value", support, value, mask))


def _described(note: _Note, site: str | None) -> str:
    where = f"site {site!r}: " if site is not None else ""
    if isinstance(note.owner, str):
        return f"{where}the value in {note.constraint}"
    return f"{where}{type(note.owner).__name__} {note.label!r} in {note.constraint}"


def _check_now(note: _Note) -> None:
    if not bool(note.holds().all()):
        _raise(note, note.owner if isinstance(note.owner, str) else None)


def _layers(fn: Any) -> Iterator[Any]:  # noqa: ANN401  # wrappers of any distribution
    """A distribution, what it was expanded from, and what it wraps: the object whose constructor made a note."""
    while fn is not None:
        yield fn
        origin = getattr(fn, "origin", fn)
        if origin is not fn:
            yield from _layers(origin)
        fn = getattr(fn, "base_dist", None)


def _raise(note: _Note, site: str | None) -> None:
    holds = note.holds()
    value = note.value
    # The verdict lacks the dims of an event, and a mask or a bound may be wider than the value.
    holds = holds.reshape(holds.shape + (1,) * note.constraint.event_dim)
    holds, values = torch.broadcast_tensors(holds, value)  # type: ignore[no-untyped-call]  # torch's
    found = values[~holds].flatten()[:3].tolist()
    where = f"site {site!r}: " if site is not None else ""
    if isinstance(note.owner, str):
        raise SupportError(
            f"{where}the value must lie in the support {note.constraint}, but holds {found} "
            f"(shape {tuple(value.shape)}); check the data, or give the site a distribution that can produce them"
        )
    raise ParameterError(
        f"{where}{type(note.owner).__name__} expects {note.label!r} in {note.constraint}, but found {found} "
        f"(shape {tuple(value.shape)}); constrain the parameter, or transform the value before it gets here"
    )
