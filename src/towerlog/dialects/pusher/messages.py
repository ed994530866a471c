"""The Pusher Channels protocol, version 7: the messages of live push, both ways, and the names of its channels.

What is pushed is what the `steps` page says of an event, in the words of that dialect. Every `data` is a JSON string.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from towerlog.dialects.steps import STATUS_WORDS
from towerlog.model.agent import AgentRow
from towerlog.model.event import Event, EventType
from towerlog.model.question import Listen, ListenKind
from towerlog.model.run import RunRow
from towerlog.model.times import format_ms

VERSIONS = frozenset({"5", "6", "7"})
"""Versions of the protocol that are spoken: of what is offered here, they say the same."""
ACTIVITY_TIMEOUT_S = 120
"""After so long without a message either side asks whether the other is there."""
MAX_CHANNEL_CHARS = 200
MAX_PUSHED_BYTES = 64 * 1024
"""A longer message is sent without its payload, which the log has."""
CHANNELS = {kind: f"private-{kind.value}.{{id}}" for kind in ListenKind}
"""How channels are named."""

UNKNOWN_APP, BAD_VERSION, UNAUTHORISED = 4001, 4007, 4009
OVER_CAPACITY, RECONNECT, NO_PONG = 4100, 4200, 4201
REFUSED_EVENT = 4301
"""Codes of the protocol. 40xx: do not come back; 41xx: come back later; 42xx: come back at once; 43xx: nothing ends."""

_WORDS = {
    EventType.RUN_STARTED: "run_start",
    EventType.STEP: "step",
    EventType.TOOL_CALL: "tool_call",
    EventType.TOOL_RESULT: "tool_call",
    EventType.RUN_FAILED: "error",
    EventType.RUN_COMPLETED: "run_end",
    EventType.RUN_WAITING: "human_input_requested",
    EventType.RUN_INPUT: "human_input_received",
}
"""The words of `steps` for what it can say; any other type has its own name."""


class ClientMessage(msgspec.Struct, frozen=True):
    """What a client says. Clients send `data` as an object or as the text of one."""

    event: str
    data: Any = None
    channel: str | None = None

    def told(self, name: str) -> str:
        """A member of `data`; empty where it is absent or no text."""
        data = self.data
        if isinstance(data, str):
            try:
                data = msgspec.json.decode(data)
            except (msgspec.DecodeError, RecursionError):
                return ""
        value = data.get(name) if isinstance(data, dict) else None
        return value if isinstance(value, str) else ""


_encode = msgspec.json.Encoder().encode
_MESSAGE = msgspec.json.Decoder(ClientMessage)


def read(text: str) -> ClientMessage | None:
    """A message of a client; None for what is none."""
    try:
        return _MESSAGE.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def listen_of(channel: str) -> Listen | None:
    """What a channel is about; None for a name of no channel that there is."""
    if len(channel) > MAX_CHANNEL_CHARS:
        return None
    for kind in ListenKind:
        prefix, _, _ = CHANNELS[kind].partition("{")
        if channel.startswith(prefix) and len(channel) > len(prefix):
            return Listen(kind, channel[len(prefix) :])
    return None


def signature(app_key: str, secret: str, socket_id: str, channel: str) -> str:
    """What lets a socket subscribe to a private channel."""
    digest = hmac.new(secret.encode(), f"{socket_id}:{channel}".encode(), hashlib.sha256).hexdigest()
    return f"{app_key}:{digest}"


# What is sent


def message(event: str, data: object, channel: str | None = None) -> bytes:
    """One message; `data` becomes the text of its JSON."""
    members = {"event": event} if channel is None else {"event": event, "channel": channel}
    return msgspec.json.encode(members | {"data": msgspec.json.encode(data).decode()})


def established(socket_id: str) -> bytes:
    """The first message of a connection."""
    data = {"socket_id": socket_id, "activity_timeout": ACTIVITY_TIMEOUT_S}
    return message("pusher:connection_established", data)


def succeeded(channel: str) -> bytes:
    """The channel is subscribed to."""
    return message("pusher_internal:subscription_succeeded", {}, channel)


def refused(channel: str, kind: str, why: str, status: int) -> bytes:
    """The channel is not subscribed to; the connection stays."""
    return message("pusher:subscription_error", {"type": kind, "error": why, "status": status}, channel)


def error(code: int | None, why: str) -> bytes:
    """Something is wrong with the connection, or with what was sent on it."""
    return message("pusher:error", {"code": code, "message": why})


PING, PONG = message("pusher:ping", {}), message("pusher:pong", {})


def event_message(channel: str, event: Event, row: RunRow, agent: AgentRow | None) -> bytes:
    """An event as it is pushed on a channel; `row` and `agent`: its run and its agent as its commit left them."""
    # No message is shorter than its payload: one that is too long is not put into a message to find that out.
    if len(event.data) <= MAX_PUSHED_BYTES:
        found = _event_message(channel, event, row, agent, event.data, "")
        if len(found) <= MAX_PUSHED_BYTES:
            return found
    return _event_message(channel, event, row, agent, b"null", ',"payload_omitted":true')


def _event_message(channel: str, event: Event, row: RunRow, agent: AgentRow | None, payload: bytes, more: str) -> bytes:
    # Formatted, not encoded: it is made for every event of whoever is listened to.
    name = row.agent if agent is None else agent.name
    told_at, foreign_id = event.occurred_at, row.foreign_id
    data = (
        f'{{"event_id":{event.position},"event_type":{_word(event)},'
        f'"sdk_run_id":{"null" if foreign_id is None else _text(foreign_id.partition(":")[2])},'
        f'"run_id":"{row.run_id}","agent_name":{"null" if name is None else _text(name)},'
        f'"status":"{STATUS_WORDS[row.status]}",'
        f'"occurred_at":{"null" if told_at is None else _text(format_ms(told_at))},'
        f'"recorded_at":"{format_ms(event.recorded_at)}","payload":{payload.decode()}{more}}}'
    )
    return b'{"event":"agent.event","channel":%s,"data":%s}' % (_encode(channel), _encode(data))


def _word(event: Event) -> str:
    if event.type is EventType.OTHER and event.facts.name:
        return _text(event.facts.name)
    return f'"{_WORDS.get(event.type, event.type.value)}"'


def _text(value: str) -> str:
    return _encode(value).decode()
