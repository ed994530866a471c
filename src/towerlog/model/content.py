"""The content of a short body: when two texts say the same JSON, however they are spelled."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from towerlog.model.chain import SPELLED_BYTES

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def without_blanks(text: bytes) -> bytes | None:
    """A text that is short, perhaps only without the blanks between its tokens; None for one that is not."""
    if len(text) <= SPELLED_BYTES:
        return text
    compact = msgspec.json.format(text, indent=-1) if len(text) <= 4 * SPELLED_BYTES else text
    return compact if len(compact) <= SPELLED_BYTES else None


def same_json(stored: bytes, sent: bytes, added: Collection[str] = (), *, with_nulls: bool = True) -> bool:
    """Whether two objects say the same, however they are spelled.

    `added`: members that are the server's word in the stored one, and count in neither. Without `with_nulls` a member
    that is null counts as absent.
    """
    ours, theirs = _plain(stored), _plain(sent)
    if not with_nulls:
        ours, theirs = _without_nulls(ours), _without_nulls(theirs)
    for name in added:
        ours.pop(name, None)
        theirs.pop(name, None)
    return _same_value(ours, theirs)


def _same_value(ours: Any, theirs: Any) -> bool:
    """Equal as JSON: Python's own `==` takes `true` for 1."""
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_same_value(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same_value, ours, theirs))
    return bool(ours == theirs)


def _without_nulls(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _plain(text: bytes) -> dict[str, object]:
    """A body's members; a value that JSON readers disagree about (a huge number) is compared by its text."""
    plain: dict[str, object] = {}
    for name, value in _decode_members(text).items():
        try:
            plain[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            plain[name] = bytes(value)
    return plain
