"""Dialect `activity`: what one agent is doing, without its content. Read as JSON or as a stream; pushed in batches.

What is pushed has the form of what is read. `feed.py` decides what may be shown.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Annotated, Literal

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.activity import pushes
from towerlog.dialects.activity.feed import (
    STATUS_OF,
    STATUS_WORDS,
    feed_event,
    frame,
)
from towerlog.dialects.activity.shapes import FeedEvent, SentEvent
from towerlog.dialects.base import (
    Call,
    Dialect,
    Endpoint,
    FrameStyle,
    Reply,
    Warned,
    damaged_in_feed,
    error_headers,
    reply_json,
    scopes,
    status_of,
)
from towerlog.dialects.fields import bounded_text, path_uuid, query_truth
from towerlog.errors import TowerlogError
from towerlog.model.event import Refusal, cursor_text
from towerlog.model.outcome import Appended, FeedPage
from towerlog.model.principal import Scope
from towerlog.model.question import FollowAgent, Tail

__all__ = ["DIALECT", "STATUS_OF", "STATUS_WORDS"]

MAX_DAMAGED_NAMED = 20
"""Damaged events that are named beside a page."""
DEFAULT_TAIL = 100
MAX_TAIL = 5000
_NUMBER = re.compile(r"[+-]?[0-9]{1,64}")


class FeedQuery(msgspec.Struct):
    """How many events of the feed, and whether to follow it."""

    tail: Annotated[int, v.said("How many of the newest events; at most 5000.", 100)] = DEFAULT_TAIL
    follow: Annotated[
        Literal["true", "false"],
        v.said("`true`: a stream that goes on as things happen. `false`: a JSON array.", "false"),
    ] = "false"
    after: (
        Annotated[
            str, v.said("Only what came after this cursor, the `id` of a frame or the header `X-Cursor`.", "e1-1042")
        ]
        | None
    ) = None


class RejectedItem(msgspec.Struct):
    """An event that was not stored."""

    index: v.Index
    code: v.Code
    message: v.Message


class PushReply(msgspec.Struct):
    """How many events are stored, and which were rejected."""

    accepted: Annotated[int, v.said("How many events are stored.", 2)]
    rejected: Annotated[list[RejectedItem], v.said("The events that are not, and why.")]
    warnings: Warned = msgspec.UNSET


class ActivityRefusal(msgspec.Struct):
    """Why a request was refused."""

    error: str
    detail: str


# Pushing


def _encode_push(outcome: Appended, command: object, call: Call) -> Reply:
    results = enumerate(outcome.results)
    rejected = [RejectedItem(n, found.code, found.message) for n, found in results if isinstance(found, Refusal)]
    accepted = len(outcome.results) - len(rejected)
    return reply_json(PushReply(accepted, rejected), 422 if rejected and not accepted else 200)


# Watching


def _decode_feed(call: Call) -> Tail | FollowAgent:
    agent_id = path_uuid(call.path["id"], "agent")
    follow = query_truth(call.query, "follow", False)
    # The header is the newer of the two: a browser that reconnects repeats the URL.
    seen = call.headers.get(b"last-event-id", b"").decode("latin-1")
    after = bounded_text(seen or call.query.get("after"), "after")
    tail = _tail(call.query.get("tail", ""))
    return FollowAgent(agent_id, tail, after) if follow else Tail(agent_id, tail, after)


def _tail(text: str) -> int:
    """The number asked for, within bounds; the default for what is not a number."""
    return max(0, min(int(text), MAX_TAIL)) if _NUMBER.fullmatch(text) else DEFAULT_TAIL


def _encode_feed(outcome: FeedPage, command: object, call: Call) -> Reply:
    shown = [feed_event(event, outcome.epoch) for event in outcome.events]
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if outcome.last is not None:
        headers = ((b"x-cursor", cursor_text(outcome.epoch, outcome.last).encode()),)
    if outcome.damaged:
        # The form of the array is the dialect's, and has no word for it.
        named = (f"{one.run_id}#{one.seq}" if one.run_id else f"@{one.position}" for one in outcome.damaged)
        headers += ((b"x-damaged", " ".join(islice(named, MAX_DAMAGED_NAMED)).encode()),)
    return reply_json([event for event in shown if event is not None], headers=headers)


STREAM = FrameStyle(
    name="activity",
    frame=frame,
    prologue=b": ping\n",
    damaged=damaged_in_feed,
    closing=b"event: end\ndata: stream closed\n\n",
)


def explain(error: TowerlogError, trace_id: str) -> Reply:
    """The error in this dialect's form: a stable code, and a text for people."""
    status = 400 if isinstance(error, errors.Invalid) and not isinstance(error, errors.IdReused) else status_of(error)
    return reply_json(ActivityRefusal(error.code, error.message), status, error_headers(error, status))


DIALECT = Dialect(
    name="activity",
    title="Activity: what one agent is doing, without its content",
    endpoints=(
        Endpoint(
            method="GET",
            path="/agents/{id}/events",
            name="activity.events",
            summary="The newest events of an agent, as an array or (follow=true) as a stream",
            scopes=scopes(Scope.READ),
            decode=_decode_feed,
            encode=_encode_feed,
            stream=STREAM,
            frames=(FeedEvent,),
            reply=list[FeedEvent],
            query=FeedQuery,
        ),
        Endpoint(
            method="POST",
            path="/agents/{id}/events",
            name="activity.push",
            summary="Push what an agent did: one event, an array, or one a line",
            scopes=scopes(Scope.INGEST),
            decode=pushes.decode_push,
            encode=_encode_push,
            ingests=True,
            is_one_event=True,
            request=SentEvent | list[SentEvent],
            reply=PushReply,
            refuses_by_item=True,
            body="ndjson",
        ),
    ),
    explain=explain,
)
