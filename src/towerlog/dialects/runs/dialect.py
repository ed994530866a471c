"""Dialect `runs`: applications create, list, follow, answer and cancel runs.

Frames of a stream are built of bytes: an event's data is copied as it was stored and not decoded.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from towerlog import errors
from towerlog.dialects import run_json
from towerlog.dialects.base import (
    Call,
    Dialect,
    Endpoint,
    FrameStyle,
    Reply,
    Warned,
    error_headers,
    reply_json,
    scopes,
    status_of,
)
from towerlog.dialects.run_json import STATUS_OF, STATUS_WORDS
from towerlog.dialects.runs import requests
from towerlog.errors import TowerlogError
from towerlog.model.event import Event, EventType
from towerlog.model.outcome import Page, RunChanged, RunCreated, RunView, ThreadView
from towerlog.model.principal import Scope
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow
from towerlog.model.times import format_ms

__all__ = ["DIALECT", "STATUS_OF", "STATUS_WORDS"]

_TYPE_TEXT: dict[EventType, bytes] = {type_: type_.value.encode() for type_ in EventType}


# What is answered


class CreatedReply(msgspec.Struct):
    """A queued run."""

    run_id: str
    trace_id: str
    warnings: Warned = msgspec.UNSET


class ThreadRun(msgspec.Struct):
    """A run of a thread."""

    run_id: str
    status: str
    created_at: str


class OkReply(msgspec.Struct):
    """The run is as requested: changed now, or it was so before."""

    ok: bool = True


class ThreadReply(msgspec.Struct):
    """A thread."""

    thread_id: str
    title: str | None
    policy: str
    created_at: str
    updated_at: str
    run_count: int
    open_runs: int


class FrameData(msgspec.Struct):
    """The `data` of a frame of the stream."""

    seq: int
    type: str
    data: dict[str, Any]
    created_at: str


# Replies


def _encode_created(outcome: RunCreated, command: object, call: Call) -> Reply:
    return reply_json(CreatedReply(outcome.run_id, outcome.trace_id), 201)


def _encode_list_of_thread(outcome: Page, command: object, call: Call) -> Reply:
    rows = [view.row for view in outcome.rows if isinstance(view, RunView)]
    return reply_json([ThreadRun(row.run_id, STATUS_WORDS[row.status], format_ms(row.created_at)) for row in rows])


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    credit = call.settings.credits_per_dollar
    rows = [run_json.full_row(view, credit) for view in outcome.rows if isinstance(view, RunView)]
    return reply_json(rows, headers=_next_page("/v1/runs", requests.RunsQuery, outcome, call))


def _next_page(path: str, query: type[msgspec.Struct], page: Page, call: Call) -> tuple[tuple[bytes, bytes], ...]:
    """The `Link` header of the next page, with the filters of this one."""
    if page.next is None:
        return ()
    # Only names of the query type: a link must not repeat what this endpoint does not read.
    kept = {name: call.query[name] for name in query.__struct_fields__ if call.query.get(name)}
    target = f"{path}?{urlencode({**kept, 'before': page.next}, quote_via=quote, safe='')}"
    return ((b"Link", f'<{target}>; rel="next"'.encode("ascii")),)


def _encode_run(outcome: RunView, command: object, call: Call) -> Reply:
    return reply_json(run_json.run_detail(outcome, call.settings.credits_per_dollar))


def _encode_ok(outcome: RunChanged, command: object, call: Call) -> Reply:
    return reply_json(OkReply())


def _encode_thread(outcome: ThreadView, command: object, call: Call) -> Reply:
    return reply_json(_thread(outcome.row), 201 if outcome.created else 200)


def _encode_threads(outcome: Page, command: object, call: Call) -> Reply:
    rows = [_thread(row) for row in outcome.rows if isinstance(row, ThreadRow)]
    return reply_json(rows, headers=_next_page("/v1/threads", requests.PageQuery, outcome, call))


def _thread(row: ThreadRow) -> ThreadReply:
    return ThreadReply(
        thread_id=row.thread_id,
        title=row.title,
        policy=row.policy,
        created_at=format_ms(row.created_at),
        # A thread without events has no `updated_at` yet.
        updated_at=format_ms(max(row.updated_at, row.created_at)),
        run_count=row.run_count,
        open_runs=len(row.open_runs),
    )


def _encode_nothing(outcome: object, command: object, call: Call) -> Reply:
    """204: the stream was read to its end. Only then is there a reply; otherwise its frames are sent."""
    return Reply(204, b"")


# Streams


def frame(event: Event, epoch: str, row: RunRow | None = None) -> bytes:
    """One server-sent event. `id` is the seq; without an `event:` line a browser's `onmessage` gets all of them."""
    # `data` is one line of JSON text, so it cannot break the frame.
    data = _named(event) if event.type is EventType.OTHER else event.data
    return b'id: %d\ndata: {"seq":%d,"type":"%s","data":%s,"created_at":"%s"}\n\n' % (
        event.seq,
        event.seq,
        _TYPE_TEXT[event.type],
        data,
        format_ms(event.recorded_at).encode(),
    )


def _named(event: Event) -> bytes:
    """The data of `other`: the sender's own type as `name`, and its payload."""
    return b'{"name":%s,"payload":%s}' % (msgspec.json.encode(event.facts.name or ""), event.data)


STREAM = FrameStyle(name="runs", frame=frame, prologue=b"retry: 1000\n\n: ping\n\n")


# Refusals

_CODES: dict[type[TowerlogError], str] = {
    errors.Malformed: "validation.failed",
    errors.Invalid: "validation.failed",
    errors.IdReused: "id_reused",
    errors.Unauthenticated: "auth.invalid",
    errors.Forbidden: "auth.scope",
    errors.ThreadBusy: "runs.thread_busy",
    errors.RunNotActive: "runs.not_active",
    errors.RunEnded: "runs.not_active",
    errors.QuestionClosed: "runs.question_closed",
    errors.AwaitsApproval: "runs.awaits_approval",
    errors.RateLimited: "ratelimit.exceeded",
    errors.Overloaded: "unavailable",
    errors.StorageFailed: "unavailable",
}
"""The dialect's codes of errors; an error that is not in it keeps its own code."""


class RunsRefusal(msgspec.Struct, omit_defaults=True):
    """Why a request was refused. `details` maps a field to what is wrong with it."""

    code: str
    message: str
    trace_id: str
    details: dict[str, str] = {}


def explain(error: TowerlogError, trace_id: str) -> Reply:
    """The error in this dialect's form."""
    details = error.details
    if isinstance(error, errors.Malformed) and not details:
        details = {"body": error.message}
    status = 422 if isinstance(error, errors.Malformed) else status_of(error)
    body = RunsRefusal(_code(error), error.message, trace_id, details)
    return reply_json(body, status, error_headers(error, status))


def _code(error: TowerlogError) -> str:
    if isinstance(error, errors.NotFound):
        return f"{error.kind}s.not_found" if error.kind in {"run", "thread"} else "not_found"
    return _CODES.get(type(error), error.code)


_READ = scopes(Scope.READ)
_CONTROL = scopes(Scope.CONTROL)

DIALECT = Dialect(
    name="runs",
    title="Runs: create, watch, answer, cancel",
    endpoints=(
        Endpoint(
            method="POST",
            path="/v1/threads/{thread_id}/runs",
            name="runs.create",
            summary="Queue a run in a thread, which is made when new",
            scopes=_CONTROL,
            decode=requests.decode_create,
            encode=_encode_created,
            request=requests.RunBody,
            reply=CreatedReply,
            reply_status=201,
        ),
        Endpoint(
            method="GET",
            path="/v1/threads/{thread_id}/runs",
            name="runs.list_of_thread",
            summary="The runs of a thread, newest first",
            scopes=_READ,
            decode=requests.decode_list_of_thread,
            encode=_encode_list_of_thread,
            reply=list[ThreadRun],
            query=requests.LimitQuery,
        ),
        Endpoint(
            method="GET",
            path="/v1/runs",
            name="runs.list",
            summary="All runs, newest first, by any filters",
            scopes=_READ,
            decode=requests.decode_list,
            encode=_encode_list,
            reply=list[run_json.FullRow],
            query=requests.RunsQuery,
        ),
        Endpoint(
            method="GET",
            path="/v1/runs/{run_id}",
            name="runs.get",
            summary="All that is known of a run",
            scopes=_READ,
            decode=requests.decode_get,
            encode=_encode_run,
            reply=run_json.RunDetail,
        ),
        Endpoint(
            method="POST",
            path="/v1/runs/{run_id}:cancel",
            name="runs.cancel",
            summary="Ask for a run's end, and for its children's",
            scopes=_CONTROL,
            decode=requests.decode_cancel,
            encode=_encode_ok,
            request=requests.CancelBody,
            reply=OkReply,
        ),
        Endpoint(
            method="POST",
            path="/v1/runs/{run_id}/input",
            name="runs.input",
            summary="Answer a question of a run, or send a message to one that runs",
            scopes=_CONTROL,
            decode=requests.decode_input,
            encode=_encode_ok,
            request=requests.InputBody,
            reply=OkReply,
        ),
        Endpoint(
            method="GET",
            path="/v1/runs/{run_id}/events",
            name="runs.events",
            summary="A run's events as a stream that ends with the run",
            scopes=_READ,
            decode=requests.decode_follow,
            encode=_encode_nothing,
            stream=STREAM,
            reply=FrameData,
            query=requests.StreamQuery,
        ),
        Endpoint(
            method="POST",
            path="/v1/threads",
            name="threads.create",
            summary="Make a thread; one that is there is answered as it is",
            scopes=_CONTROL,
            decode=requests.decode_create_thread,
            encode=_encode_thread,
            request=requests.ThreadBody,
            reply=ThreadReply,
            reply_status=201,
        ),
        Endpoint(
            method="GET",
            path="/v1/threads",
            name="threads.list",
            summary="Threads, newest first",
            scopes=_READ,
            decode=requests.decode_list_threads,
            encode=_encode_threads,
            reply=list[ThreadReply],
            query=requests.PageQuery,
        ),
        Endpoint(
            method="GET",
            path="/v1/threads/{thread_id}",
            name="threads.get",
            summary="One thread",
            scopes=_READ,
            decode=requests.decode_get_thread,
            encode=_encode_thread,
            reply=ThreadReply,
        ),
    ),
    explain=explain,
)
