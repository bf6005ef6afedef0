"""Keeps the C library from giving memory back between steps."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_memory() -> bool:
    """Raises glibc's thresholds for returning freed memory; returns whether the platform has them.

    A training step frees and asks again for the same few megabytes. By default glibc hands blocks of that size back to the kernel each
    time, and page faults then take most of a small SAE's step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    big = 1 << 30
    return bool(mallopt(M_MMAP_THRESHOLD, big)) and bool(mallopt(M_TRIM_THRESHOLD, big))
