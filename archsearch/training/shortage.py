"""Tells a lack of memory from other errors, and says what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from archsearch.training.member import Member

WORDS = (
    "not enough memory",
    "DefaultCPUAllocator",
    "Storage size calculation overflowed",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""How torch says that there is no memory, where it has no error of its own for it."""


def out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)


def too_big(member: Member) -> None:
    """Notes that a member does not fit into memory."""
    member.failure = f"it ran out of memory at step {member.step}; a smaller `width` or `batch` needs less"


@contextmanager
def fitting(member: Member) -> Iterator[None]:
    """Makes a lack of memory the member's failure; every other error passes."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        too_big(member)
    else:
        return
    torch.cuda.empty_cache()  # only here: what the failed step held is freed with its error
