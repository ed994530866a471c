"""The encoder of one client's events in one run: numbers, ids, times, and what is never sent in part.

Most events may be shortened. State may not: a checkpoint, and the `input` and `result` of a run, are sent whole or not
at all, and what is not sent takes a number of its own, which is reported as lost. A large history is sent by what is
new after the checkpoint before it.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from typing import Any

from towerlog.sdk.record.histories import Conversation, NotWhole, whole_text
from towerlog.sdk.record.values.encoding import (
    MAX_CONVERTED,
    MAX_EVENT_BYTES,
    Converted,
    describe,
    encode_event,
    with_converted,
)
from towerlog.sdk.wire.ids import uuid7_at

MAX_CHECKPOINT_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""The largest checkpoint that is sent: with its envelope it must fit into one request of 16 MiB."""
MAX_RESENT_BYTES = 64 * 1024
"""Up to this size a history is sent whole each time: then no checkpoint depends on one before it."""
LOSS_NOTICE = "client.dropped"
"""The name of the event, of type `other`, that says which numbers of a client will never come."""
MAX_BASES = 64
"""Checkpoints back to which a base is looked for that the server knows; before them everything is sent."""
WHOLE_MEMBERS = {"run.started": "input", "run.completed": "result"}
"""Members of data that are sent whole or not at all; the event is sent in either case."""

_log = logging.getLogger("towerlog.sdk")


class EventEncoder:
    """Numbers, stamps and encodes the events of one client in one run. Not safe for threads: its owner holds a lock."""

    def __init__(self, run_key: str | None = None, seq: int = 0) -> None:
        """`run_key` names a run that the client has begun itself. `seq` is the last number that was given out."""
        self.seq = seq
        self.lost: list[tuple[int, str]] = []
        """Numbers that will never come, with the reason; whoever reports them empties it."""
        self._run_key = run_key
        self._warned: set[str] = set()
        self._told: Conversation | None = None
        """The history of the newest checkpoint."""
        self._bases: deque[tuple[int, bytes]] = deque(maxlen=MAX_BASES)
        """Length and name of the histories of the checkpoints so far: what the server should have."""

    def encode(self, event: dict[str, Any]) -> bytes | None:
        """The next event's line, None if it is lost; its number is then `seq`. The event itself is stamped, no copy."""
        self._stamp(event)
        kind = event["type"]
        try:
            if kind == "checkpoint":
                return self._checkpoint(event)
            member = WHOLE_MEMBERS.get(kind)
            if member is not None and member in event["data"]:
                return self._with_whole(event, member)
            return encode_event(event)
        except Exception as error:
            # A program that changes its values while they are encoded can get here.
            return self._lost(f"cannot be encoded: {describe(error)}")

    def _stamp(self, event: dict[str, Any]) -> None:
        self.seq += 1
        now_ms = time.time_ns() // 1_000_000
        event["event_id"] = uuid7_at(now_ms)
        event["client_seq"] = self.seq
        if self._run_key is not None:
            event["run_key"] = self._run_key
        event["time"] = now_ms

    def encode_loss(self, from_seq: int, to_seq: int, reason: str) -> bytes:
        """A notice that these numbers, both ends included, will never come. It has a number of its own."""
        payload = {"from_seq": from_seq, "to_seq": to_seq, "reason": reason}
        event: dict[str, Any] = {"type": "other", "data": {"name": LOSS_NOTICE, "payload": payload}}
        self._stamp(event)
        return encode_event(event)

    def resumes(self, history: object) -> None:
        """The server has this history: what goes on from it is sent by what is new."""
        try:
            self._remember(Conversation.of(history))
        except NotWhole:
            # It came as JSON, so this is a history that is none; the next checkpoint is sent whole.
            self._told = None

    def _remember(self, told: Conversation) -> None:
        self._told = told
        if told.names:
            self._bases.append((len(told.names), told.names[-1]))

    def with_older_base(self, line: bytes) -> bytes | None:
        """The checkpoint of a line whose base the server does not know, with an older base, in the end with none.

        None if it has none already, cannot be made any more, or is too large.
        """
        event = json.loads(line)
        told, data = self._told, event.pop("data")
        base = data.pop("base", None)
        if told is None or base is None:
            return None
        known = base["length"]
        if known > len(told.names) or base["node"] != told.names[known - 1].hex():
            return None
        older = max((n for n, name in self._bases if n < known and told.names[n - 1] == name), default=0)
        texts = [*told.texts[:known], *map(whole_text, data.pop("history"))]
        found = _joined(event, Conversation(texts, told.names).data(whole_text(data), older))
        return found if len(found) <= MAX_CHECKPOINT_BYTES else None

    def _checkpoint(self, event: dict[str, Any]) -> bytes | None:
        data, converted = dict(event.pop("data")), Converted()
        try:
            told = Conversation.of(data.pop("history", None), converted)
            members = whole_text(data, converted)
            if converted:
                members = whole_text(with_converted(data, converted))
        except NotWhole as error:
            return self._lost(f"a checkpoint cannot be sent whole: {error}")
        self._warn(converted.reprs)
        known = 0
        if self._told is not None and sum(map(len, told.texts)) > MAX_RESENT_BYTES:
            known = told.shared_with(self._told)
        line = _joined(event, told.data(members, known))
        if len(line) > MAX_CHECKPOINT_BYTES:
            return self._lost(f"a checkpoint of {len(line)} bytes is too large to be sent whole")
        self._remember(told)
        return line

    def _warn(self, kinds: set[str]) -> None:
        """Warns once of each type from whose text nobody can resume."""
        for kind in sorted(kinds - self._warned)[: MAX_CONVERTED - len(self._warned)]:
            self._warned.add(kind)
            _log.warning(
                "run %s: a checkpoint holds a %s, of which only the repr is stored: a run cannot be resumed from that. "
                "Give JSON values, or an object with model_dump().",
                self._run_key or "of this worker",
                kind,
            )

    def _lost(self, reason: str) -> bytes | None:
        """Notes that the number just given out will not come."""
        self.lost.append((self.seq, reason))
        return None

    def _with_whole(self, event: dict[str, Any], member: str) -> bytes:
        """The event with this member whole; without it, and a number reported as lost, if that cannot be."""
        data = dict(event["data"])
        value = data.pop(member)
        event["data"] = data
        try:
            converted = Converted()
            text = whole_text(value, converted, member)
            if converted:
                event["data"] = with_converted(data, converted)
            rest = encode_event(event)
            if len(rest) + len(text) + len(member) + 4 <= MAX_EVENT_BYTES:
                return _with_member(rest, member, text)
            reason = f"{len(text)} bytes are too many to be sent whole"
        except NotWhole as error:
            reason = str(error)
        self._lost(f"the run's {member}: {reason}")
        self.seq += 1
        event["client_seq"] = self.seq
        event["data"] = {**data, "towerlog_dropped": {member: reason}}
        return encode_event(event)


def place_of(line: bytes) -> tuple[str, int, bool]:
    """(run_key, client_seq, is it a notice of loss) of an encoded event; no key if the line is damaged."""
    try:
        event = json.loads(line)
        data = event.get("data") or {}
        notice = event.get("type") == "other" and isinstance(data, dict) and data.get("name") == LOSS_NOTICE
        return str(event["run_key"]), int(event["client_seq"]), notice
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return "", 0, False


def _joined(event: dict[str, Any], data: bytes) -> bytes:
    """An event and its encoded data in one line. The event's own members are small."""
    return encode_event(event)[:-1] + b',"data":' + data + b"}"


def _with_member(line: bytes, member: str, text: bytes) -> bytes:
    """The line with another member in its data."""
    # Before the data stands only the type, which is a word of the wire.
    head, found, tail = line.partition(b'"data":{')
    if not found:
        return line
    rest = b"" if tail[:1] == b"}" else b","
    return b'%b%b"%b":' % (head, found, member.encode()) + text + rest + tail
