"""Which versions of a saved content can be read, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from aleator.errors import CheckpointError

__all__ = ["ContentFormat", "Migration"]

Migration = Callable[[dict[str, Any]], dict[str, Any]]


@final
@dataclass(frozen=True)
class ContentFormat:
    """The layout of one kind of content, which may change from release to release.

    The content says its version and which release wrote it. The present version is read as it is; an older one is
    brought up step by step where each step has a migration, and refused where one lacks; a newer one is refused.
    Content that says nothing is of version 1: it is older than this rule.

    Args:
        what: the content in words, for messages.
        package: the distribution that reads and writes it.
        release: that distribution's version.
        version: what is written now.
        migrations: by version, the function from a content of it to one of the next version.

    Example:
        >>> notes = ContentFormat("a list of notes", "acme-notes", "2.0", 2, {1: lambda old: {"notes": old["text"]}})
        >>> notes.read({"text": "one"})["notes"], notes.stamped({"notes": "two"})["version"]
        ('one', 2)
    """

    what: str
    package: str
    release: str
    version: int
    migrations: Mapping[int, Migration] = field(default_factory=dict)

    def stamped(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content with its version and its writer."""
        return {**content, "version": self.version, "writer": f"{self.package} {self.release}"}

    def read(self, content: Mapping[str, Any], where: str = "the file") -> dict[str, Any]:
        """Return a content of the present version.

        Args:
            content: of any version.
            where: what to call its place in an error.

        Raises:
            CheckpointError: it is newer, too old, or says no version; what wrote it and what to do are said.
        """
        current = dict(content)
        version = current.get("version", 1)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise CheckpointError(f"{where} is damaged: {version!r} is no version of {self.what}; use an earlier copy")
        writer = current.get("writer", f"an early {self.package}")
        found = f"{where} holds {self.what} in version {version}, written by {writer}"
        if version > self.version:
            raise CheckpointError(
                f"{found}; {self.package} {self.release} reads up to version {self.version}; "
                f"upgrade with: pip install -U {self.package}"
            )
        for step in range(version, self.version):
            if step not in self.migrations:
                raise CheckpointError(
                    f"{found}, which is too old for {self.package} {self.release}; load it with {writer} and train "
                    f"on there, or begin anew"
                )
            try:
                current = {**self.migrations[step](current), "version": step + 1}
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                raise CheckpointError(f"{where} is damaged: {self.what} lacks its parts ({error!r})") from error
        return current
