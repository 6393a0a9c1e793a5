"""Let the C library keep the memory that one step frees for the next step."""

from __future__ import annotations

from contextlib import suppress

import torch

__all__ = ["keep_freed_memory"]

_LARGEST_LEARNED_FROM = 2**25 - 2**16
"""glibc learns from freed blocks of up to 32 MiB, its own header and a page of rounding included."""


def keep_freed_memory() -> None:
    """Show the allocator a large block once, so that it does not give a step's tensors back to the system each time.

    A step frees all that it made. glibc returns the free end of its heap to the system when that end is larger than
    twice the largest block it has seen freed, and the next step then pays a page fault for every 4 KiB: a quarter of
    the time of a step whose tensors have a few MiB. After a block of 32 MiB has been freed, up to 64 MiB stay with the
    process. The block itself is never written to, so that it takes no memory; what it costs is two calls of the system.

    Whoever sets glibc's thresholds (``MALLOC_TRIM_THRESHOLD_`` in the environment) switches this learning off, and
    other allocators take no notice.
    """
    with suppress(RuntimeError):  # a process that may not have 32 MiB more goes on without
        torch.UntypedStorage(_LARGEST_LEARNED_FROM, device="cpu")  # type: ignore[no-untyped-call]  # torch's
