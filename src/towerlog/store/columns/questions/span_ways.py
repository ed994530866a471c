"""What the spans of a way up say of what is above them, from the facts of their events."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from towerlog.model.facts import NO_FACTS, Facts, LinkAbove, link_above

_decode = msgspec.json.Decoder(Facts).decode


def links_of(found: Iterable[tuple[str, bytes | None]]) -> dict[str, LinkAbove | None]:
    """By span; None where no event has its id, or one that is damaged. The facts of an event without any are empty."""
    return {span_id: _link_of(span_id, facts) for span_id, facts in found}


def _link_of(span_id: str, facts: bytes | None) -> LinkAbove | None:
    if facts is None:
        return None
    try:
        return link_above(_decode(facts) if facts else NO_FACTS, span_id)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
