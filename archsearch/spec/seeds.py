"""Seeds derived from names and numbers, so that no draw depends on what was drawn before."""

from __future__ import annotations

import hashlib


def seed_of(*parts: str | int) -> int:
    """Returns a 63-bit seed that depends on `parts` alone, the same on every machine."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
