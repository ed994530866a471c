"""The C library's allocator, told to give large blocks back.

Left to itself it keeps what was freed for the next time, in a heap of each thread, and takes ever larger blocks from
these heaps once one has been freed: what large replies or bodies took for a moment, the process would hold for good.
"""

from __future__ import annotations

import ctypes

MAPPED_BYTES = 512 * 1024
"""A block of this size or more is mapped by itself, and unmapped when it is freed. Smaller ones are too frequent."""
KEPT_BYTES = 1024 * 1024
"""What may stay free at the end of a heap."""
MAX_HEAPS = 2
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Names of glibc's `mallopt`."""


def set_up_allocator() -> bool:
    """Sets the bounds for this process; False where the C library has none to set."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    bounds = {_MMAP_THRESHOLD: MAPPED_BYTES, _TRIM_THRESHOLD: KEPT_BYTES, _ARENA_MAX: MAX_HEAPS}
    return all(mallopt(name, value) == 1 for name, value in bounds.items())
