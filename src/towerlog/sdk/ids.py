"""Fresh ids, made where the event is made: UUID version 7, so that ids sort by their time."""

from __future__ import annotations

import os
import time

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_A = 0xFFF << 64
_RANDOM_B = (1 << 62) - 1


def uuid7() -> str:
    """A UUID of version 7 in its usual text: 48 bits of milliseconds since 1970, 74 random bits (RFC 9562)."""
    random_bits = int.from_bytes(os.urandom(10), "big")
    milliseconds = (time.time_ns() // 1_000_000) & 0xFFFF_FFFF_FFFF
    value = (milliseconds << 80) | _VERSION | (random_bits & _RANDOM_A) | _VARIANT | (random_bits & _RANDOM_B)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
