"""The known keys of a site's ``infer`` mapping, so that a misspelt one does not pass in silence.

``sample`` asks only about keys outside ``KEYS_KNOWN_TO_CORE``; everything else here runs at most once per key.
"""

from __future__ import annotations

import threading
from typing import Final, final

from aleator.errors import AleatorWarning
from aleator.plugins._official import OFFICIAL
from aleator.plugins.attribution import warn_caller
from aleator.plugins.suggestions import nearest_name

__all__ = [
    "CORE_INFER_KEYS",
    "KEYS_KNOWN_TO_CORE",
    "known_infer_keys",
    "nearest_infer_key",
    "warn_unknown_infer_key",
]

CORE_INFER_KEYS: Final = frozenset({"is_auxiliary", "obs", "was_observed"})
# The official plugins' keys belong in: a program may carry their marks where they are not installed.
KEYS_KNOWN_TO_CORE: Final = CORE_INFER_KEYS | frozenset(OFFICIAL.infer_keys)


@final
class _Settled:
    """Keys that need no second look: each is declared by a plugin, or was warned about."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.keys: set[str] = set()

    def claim(self, key: str) -> bool:
        """Return True to the first caller that asks about a key."""
        with self.lock:
            if key in self.keys:
                return False
            self.keys.add(key)
            return True


_SETTLED = _Settled()


def known_infer_keys() -> frozenset[str]:
    """Return the keys of the core, of the official plugins (installed or not) and of every installed plugin.

    This loads the plugins' manifests.

    Example:
        >>> "is_auxiliary" in known_infer_keys()
        True
    """
    # pluggy comes with the registry: a program whose keys are all known never loads it.
    from aleator.plugins.registry import current

    return KEYS_KNOWN_TO_CORE | current().infer_keys()


def nearest_infer_key(key: str) -> str | None:
    """Return the known key most like ``key``, or ``None`` where none is near.

    Example:
        >>> nearest_infer_key("is_auxilary")
        'is_auxiliary'
    """
    return nearest_name(key, known_infer_keys())


def warn_unknown_infer_key(site_name: str, key: object) -> None:
    """Warn, once per key and process, where no plugin declares an ``infer`` key.

    Args:
        site_name: the site that carries the key.
        key: the key; one that turns out to be known passes.

    Warns:
        AleatorWarning: names the site, the key and the nearest known key.
    """
    text = str(key)
    if text in _SETTLED.keys or text in KEYS_KNOWN_TO_CORE:
        return
    known = known_infer_keys()
    if not _SETTLED.claim(text) or text in known:
        return
    nearest = nearest_name(text, known)
    advice = f"did you mean {nearest!r}?" if nearest else f"the known keys are {', '.join(sorted(known))}"
    warn_caller(
        f"site {site_name!r} has the infer key {text!r}, which no installed plugin reads: it has no effect; {advice}",
        AleatorWarning,
    )
