"""The one event encoder: an event, with its number, id and time, becomes one line of JSON. Nothing here raises.

An event is encoded at the moment of the call, on the caller's thread, because the caller may change its arguments right
after. Every part is capped. What JSON cannot express becomes its `repr`; NaN and the infinities become null.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from towerlog.sdk.wire.ids import uuid7

EVENT_BYTES_MAX = 4 * 1024 * 1024 - 4096
"""The largest event that is sent as it is: with what goes around it, it must fit into one request of 4 MiB."""
REPR_CHARS_MAX = 1000
DEPTH_MAX = 64
ITEMS_MAX = 100_000
"""Members of one container that a value taken apart by hand may have."""
NAME_CHARS_MAX = 200
NAMES_KEPT = 512
CUTS_CHARS = (65_536, 4_096, 256)
"""To what a too large event's strings are cut: the first of these with which it fits."""
INTEGER_MAX = 2**63 - 1
LOSS_NOTICE = "client.dropped"
"""The name of the event, of type `other`, that says which numbers of a client will never come."""


class EventEncoder:
    """Numbers, stamps and encodes the events of one client in one run. Not safe for threads: its owner holds a lock."""

    def __init__(self, run_key: str | None = None, seq: int = 0) -> None:
        """`run_key` names a run that the client has begun itself. `seq` is the last number that was given out."""
        self.seq = seq
        self._run_key = run_key

    def encode(self, event: dict[str, Any]) -> bytes:
        """The next event's line; its number is then `seq`. The event is stamped itself, not a copy of it."""
        self.seq += 1
        event["event_id"] = uuid7()
        event["client_seq"] = self.seq
        if self._run_key is not None:
            event["run_key"] = self._run_key
        event["time"] = time.time_ns() // 1_000_000
        return encode_event(event)

    def encode_loss(self, from_seq: int, to_seq: int, reason: str) -> bytes:
        """A notice that these numbers, both ends included, will never come. It has a number of its own."""
        payload = {"from_seq": from_seq, "to_seq": to_seq, "reason": reason}
        return self.encode({"type": "other", "data": {"name": LOSS_NOTICE, "payload": payload}})


def place_of(line: bytes) -> tuple[str, int, bool]:
    """(run_key, client_seq, is it a notice of loss) of an encoded event; no key if the line is damaged."""
    try:
        event = json.loads(line)
        data = event.get("data") or {}
        notice = event.get("type") == "other" and isinstance(data, dict) and data.get("name") == LOSS_NOTICE
        return str(event["run_key"]), int(event["client_seq"]), notice
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", 0, False


def encode_event(event: Mapping[str, Any]) -> bytes:
    """One line of JSON, at most `EVENT_BYTES_MAX` long. Never raises."""
    try:
        line = _ENCODER.encode(event).encode()
    except Exception:
        # Not JSON somewhere inside: a key that is not text, NaN, a circle, a lone surrogate. Taken apart by hand.
        line = _encode_plain(plain(event))
    return line if len(line) <= EVENT_BYTES_MAX else _shortened(event, len(line))


def plain(value: object, depth: int = DEPTH_MAX) -> Any:
    """The same value in nothing but what JSON knows: a copy, capped in depth and in members."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value) if -INTEGER_MAX <= value <= INTEGER_MAX else _repr(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth <= 0:
        return _repr(value)
    if isinstance(value, Mapping):
        return _attempt(value, lambda: {_key(k): plain(v, depth - 1) for k, v in islice(value.items(), ITEMS_MAX)})
    if isinstance(value, list | tuple | set | frozenset):
        return _attempt(value, lambda: [plain(item, depth - 1) for item in islice(value, ITEMS_MAX)])
    return _repr(value)


def one_line(value: object, longest: int = 500) -> str:
    """A value in one line, for an error or a reason."""
    text = " ".join(_text(value).split()) if isinstance(value, str) else " ".join(_repr(value).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def describe(error: BaseException) -> str:
    """An exception in one line: its type and what it says."""
    try:
        said = str(error)
    except Exception:
        said = "(it cannot say what)"
    name = type(error).__name__
    return one_line(f"{name}: {said}" if said else name)


def name_text(value: object) -> str:
    """A name as the wire takes it: one line, not empty, at most 200 characters."""
    if type(value) is str and len(value) <= NAME_CHARS_MAX:
        return _known_name(value)
    return _name_text(value)


@lru_cache(maxsize=NAMES_KEPT)
def _known_name(value: str) -> str:
    """A program has few names and says them often."""
    return _name_text(value)


def _name_text(value: object) -> str:
    return one_line(value if isinstance(value, str) else _repr(value), NAME_CHARS_MAX) or "unnamed"


def _default(value: object) -> Any:
    """What the JSON encoder does not know."""
    if isinstance(value, set | frozenset | Mapping):
        return plain(value)
    return _repr(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default)
"""Made once: `json.dumps` with options would make one for each event."""


def _encode_plain(value: object) -> bytes:
    try:
        return _ENCODER.encode(value).encode()
    except Exception as error:
        # A program that changes its own values while they are read can still get here.
        return _ENCODER.encode({"unencodable": describe(error)}).encode("utf-8", "replace")


def _attempt(value: object, make: Any) -> Any:
    """What `make` makes, or the value's `repr` where looking at it fails."""
    try:
        return make()
    except Exception:
        return _repr(value)


def _key(value: object) -> str:
    return _text(value) if isinstance(value, str) else _repr(value)


def _text(value: str) -> str:
    """The text without what UTF-8 cannot say."""
    return str.__str__(value).encode("utf-8", "replace").decode()


def _repr(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__} that cannot be shown>"
    text = _text(text)
    return text if len(text) <= REPR_CHARS_MAX else f"{text[: REPR_CHARS_MAX - 1]}…"


def _shortened(event: Mapping[str, Any], full_bytes: int) -> bytes:
    """The event with its long strings cut, and in the end without all that is large; marked in its data."""
    whole = plain(event)
    *longer, shortest = CUTS_CHARS
    # The shortest first: where it is not the strings, no time is lost on cutting them three times.
    least = _encode_plain(_marked(_cut(whole, shortest), full_bytes))
    if len(least) > EVENT_BYTES_MAX:
        return _encode_plain(_marked(_scalars(whole), full_bytes))
    lines = (_encode_plain(_marked(_cut(whole, chars), full_bytes)) for chars in longer)
    return next((line for line in lines if len(line) <= EVENT_BYTES_MAX), least)


def _cut(value: Any, chars: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= chars else f"{value[:chars]}… [cut: {len(value)} characters]"
    if isinstance(value, dict):
        return {name: _cut(member, chars) for name, member in value.items()}
    if isinstance(value, list):
        return [_cut(item, chars) for item in value]
    return value


def _scalars(event: Any) -> Any:
    """What an event needs to be taken: its own members, and in its data what is small."""
    data = event.get("data") if isinstance(event, dict) else None
    small: dict[str, Any] = {"history": []} if isinstance(data, dict) and "history" in data else {}
    members: Iterable[tuple[str, Any]] = islice(data.items(), 100) if isinstance(data, dict) else ()
    kept = {k[:200]: _cut(v, 256) for k, v in members if v is None or isinstance(v, str | int | float | bool)}
    head = {k: _cut(v, 256) for k, v in event.items() if k != "data" and not isinstance(v, dict | list)}
    return {**head, "data": {**small, **kept}}


def _marked(event: Any, full_bytes: int) -> Any:
    data = event.get("data")
    marker = {"towerlog_truncated": {"bytes": full_bytes}}
    return {**event, "data": {**data, **marker} if isinstance(data, dict) else marker}
