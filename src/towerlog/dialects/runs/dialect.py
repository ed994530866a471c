"""Dialect `runs`: applications create, list, follow, answer and cancel runs."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec
from msgspec import UNSET, UnsetType

from towerlog import errors
from towerlog.dialects import run_json
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import (
    Call,
    Dialect,
    Endpoint,
    Reply,
    Warned,
    error_headers,
    reply_json,
    scopes,
    status_of,
)
from towerlog.dialects.run_json import STATUS_OF, STATUS_WORDS
from towerlog.dialects.runs import requests
from towerlog.dialects.runs.agui import AGUI, AguiEvent, AguiStart
from towerlog.dialects.runs.frames import STREAM, DeltaData, FrameData, TimedData
from towerlog.errors import TowerlogError
from towerlog.model.command import GiveInput
from towerlog.model.outcome import Page, RunChanged, RunCreated, RunView, ThreadView
from towerlog.model.principal import Scope
from towerlog.model.thread import ThreadRow
from towerlog.model.times import format_ms

__all__ = ["DIALECT", "STATUS_OF", "STATUS_WORDS"]


# What is answered


class CreatedReply(msgspec.Struct):
    """A queued run."""

    run_id: v.RunId
    trace_id: v.TraceId
    warnings: Warned = msgspec.UNSET


class ThreadRun(msgspec.Struct):
    """A run of a thread."""

    run_id: v.RunId
    status: v.RunStatus
    created_at: v.CreatedAt


class OkReply(msgspec.Struct):
    """The run is as requested: changed now, or it was so before."""

    ok: v.Ok = True
    resumed_by: (
        Annotated[
            str, v.run_id("The run that goes on from this one, and was asked as well; a message is for it alone.")
        ]
        | UnsetType
    ) = UNSET


class ThreadReply(msgspec.Struct):
    """A thread."""

    id: v.ThreadId
    thread_id: v.ThreadId
    title: v.Title | None
    policy: v.Policy
    created_at: v.CreatedAt
    updated_at: v.UpdatedAt
    run_count: Annotated[int, v.said("How many runs it has.", 3)]
    open_runs: Annotated[int, v.said("How many of them have not ended.", 1)]


# Replies


def _encode_created(outcome: RunCreated, command: object, call: Call) -> Reply:
    return reply_json(CreatedReply(outcome.run_id, outcome.trace_id), 201)


def _encode_list_of_thread(outcome: Page, command: object, call: Call) -> Reply:
    rows = [view.row for view in outcome.rows if isinstance(view, RunView)]
    return reply_json(
        [ThreadRun(row.run_id, STATUS_WORDS[row.status], format_ms(row.shown_created_at())) for row in rows]
    )


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


def _encode_ok(outcome: RunChanged | RunView, command: object, call: Call) -> Reply:
    if isinstance(outcome, RunView):
        return reply_json(OkReply(resumed_by=outcome.resumed_by or UNSET))
    is_other = isinstance(command, GiveInput) and outcome.row.run_id != command.run_id
    return reply_json(OkReply(resumed_by=outcome.row.run_id if is_other else UNSET))


def _encode_thread(outcome: ThreadView, command: object, call: Call) -> Reply:
    return reply_json(_thread(outcome.row), 201 if outcome.created else 200)


def _encode_threads(outcome: Page, command: object, call: Call) -> Reply:
    rows = [_thread(row) for row in outcome.rows if isinstance(row, ThreadRow)]
    return reply_json(rows, headers=_next_page("/v1/threads", requests.PageQuery, outcome, call))


def _thread(row: ThreadRow) -> ThreadReply:
    return ThreadReply(
        id=row.thread_id,
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
    is_malformed = isinstance(error, errors.Malformed)
    details = error.details or ({"body": error.message} if is_malformed else {})
    status = 422 if is_malformed else status_of(error)
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
            summary="Queue a run in a thread; the thread is created if needed",
            scopes=_CONTROL,
            decode=requests.decode_create,
            encode=_encode_created,
            request=requests.RunBody,
            reply=CreatedReply,
            reply_status=201,
            refuses=(errors.ThreadBusy, errors.BudgetExceeded),
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
            summary="Cancel a run and its children",
            scopes=_CONTROL,
            decode=requests.decode_cancel,
            encode=_encode_ok,
            request=requests.CancelBody,
            reply=OkReply,
            refuses=(errors.RunNotActive,),
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
            refuses=(
                errors.RunNotActive,
                errors.QuestionClosed,
                errors.AwaitsApproval,
                errors.Conflict,
            ),
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
            frames=(FrameData, DeltaData, TimedData),
            query=requests.StreamQuery,
        ),
        Endpoint(
            method="GET",
            path="/v1/runs/{run_id}/agui",
            name="runs.agui",
            summary="A run as events of AG-UI, from its beginning to its end",
            scopes=_READ,
            decode=requests.decode_agui,
            encode=_encode_nothing,
            stream=AGUI,
            frames=(AguiStart, AguiEvent),
        ),
        Endpoint(
            method="POST",
            path="/v1/threads",
            name="threads.create",
            summary="Create a thread, or return the existing one",
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
