"""The `Idempotency-Key` of a request: checked, and turned into what the engine knows a repeat by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from towerlog.dialects.base import Reply
from towerlog.errors import Invalid
from towerlog.model.alert import RuleNow
from towerlog.model.command import Idempotency
from towerlog.model.member import SignInLinkMade
from towerlog.model.outcome import KeyMinted

MAX_IDEMPOTENCY_KEY_BYTES = 255
_WITHOUT_SECRET: dict[type, dict[str, Any]] = {
    KeyMinted: {"text": ""},
    SignInLinkMade: {"text": ""},
    RuleNow: {"new_secrets": {}},
}
"""Outcomes that show a secret once → what they are without it."""


def idempotency(route: str, key: bytes, digest: bytes, encode: Callable[[Any], Reply], replay: bool) -> Idempotency:
    """`digest` is that of the body. `encode` makes the reply of an outcome; without `replay` the reply that is kept
    leaves a secret out.

    Raises Invalid.
    """

    def kept(outcome: Any) -> tuple[int, bytes]:
        if not replay and type(outcome) in _WITHOUT_SECRET:
            outcome = msgspec.structs.replace(outcome, **_WITHOUT_SECRET[type(outcome)])
        reply = encode(outcome)
        return reply.status, reply.body

    return Idempotency(route, checked_key(key), digest, kept)


def checked_key(key: bytes) -> str:
    """The text of an `Idempotency-Key`. Raises Invalid."""
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_BYTES or not key.isascii() or not key.decode("ascii").isprintable():
        raise Invalid(
            f"Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY_BYTES} printable ASCII characters.",
            field="Idempotency-Key",
        )
    return key.decode("ascii")
