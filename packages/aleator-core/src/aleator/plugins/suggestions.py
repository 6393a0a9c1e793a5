"""The nearest known name to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest_name"]


def nearest_name(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like ``name``, whatever the case of its letters; ``None`` where none is near.

    Example:
        >>> nearest_name("trace_elbow", ["SVI", "Trace_ELBO"])
        'Trace_ELBO'
    """
    import difflib  # only needed once something is misspelt

    by_lower_case: dict[str, str] = {}
    for candidate in sorted(candidates):
        by_lower_case.setdefault(candidate.lower(), candidate)
        # A third party's name is often typed without its vendor.
        by_lower_case.setdefault(candidate.rpartition("/")[2].lower(), candidate)
    found = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[found[0]] if found else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or nothing where no candidate is near."""
    nearest = nearest_name(name, candidates)
    return f"; did you mean {nearest!r}?" if nearest is not None else ""
