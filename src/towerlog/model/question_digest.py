"""What stands for all that a person reads of a question before the answer: a digest of its words."""

from __future__ import annotations

import hashlib

import msgspec

from towerlog.model.approval import NO_TERMS
from towerlog.model.facts import NO_EFFECTS, Facts

WORDS_BYTES = 12
"""Of the digest."""


class _AskedData(msgspec.Struct, frozen=True):
    """What a person reads before the answer, as it was sent."""

    question: msgspec.Raw = msgspec.Raw(b"")
    context: msgspec.Raw = msgspec.Raw(b"")
    tool_calls: msgspec.Raw = msgspec.Raw(b"")
    schema: msgspec.Raw = msgspec.Raw(b"")


_decode_asked = msgspec.json.Decoder(_AskedData).decode


def words_of(facts: Facts, data: bytes) -> str:
    """What stands for all that a person reads of a question before the answer. `data`: of the event that asks."""
    told, terms = _decode_asked(data), (facts.effects or NO_EFFECTS).terms or NO_TERMS
    words = ((facts.question or "").encode(), (terms.risk or "").encode())
    raw = (told.question, told.context, told.tool_calls, told.schema)
    # With their lengths, so that no two lists of parts make the same text.
    text = b"\n".join(b"%d %s" % (len(part), part) for part in (*words, *(bytes(one) for one in raw)))
    return hashlib.blake2b(text, digest_size=WORDS_BYTES).hexdigest()
