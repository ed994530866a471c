"""Native endpoints that read threads, and runs with their events and checkpoints."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import MAX_SEQ, bounded_text, invalid_field, path_id, path_uuid, query_int, query_truth
from towerlog.dialects.native import shapes
from towerlog.dialects.native.lists import (
    DEFAULT_LIMIT,
    MAX_EVENT_LIMIT,
    MAX_LIMIT,
    CursorQuery,
    Listing,
    limit_of,
    live_header,
    page_reply,
    read_cursor,
    read_number,
    read_step,
    write_cursor,
)
from towerlog.dialects.native.screens.run_filters import RunFilterQuery, read_filter, words_of
from towerlog.dialects.run_json import RunDetail
from towerlog.errors import NotFound
from towerlog.model.checkpoint import CheckpointRow, CheckpointView
from towerlog.model.event import EventType
from towerlog.model.outcome import Page, RunView, ThreadView
from towerlog.model.principal import Scope
from towerlog.model.question import (
    FindRuns,
    GetCheckpoint,
    GetRun,
    GetThread,
    ListCheckpoints,
    ListEvents,
    ListRuns,
    ListThreads,
)
from towerlog.model.run_text import check_asked
from towerlog.model.times import format_optional_ms

READ = scopes(Scope.READ)
MAX_RUN_IDS = 20
"""Ids that a prefix finds; whoever needs more gives a longer one."""
_PREFIX = re.compile(r"[0-9a-f]{0,32}")
PLACES = ["input", "result", "talk", "about", "agent", "thread_id", "run_id", "trace_id", "sender_id"]
"""Where a search finds words."""
_TYPES = frozenset(type_.value for type_ in EventType)


class ThreadQuery(CursorQuery, frozen=True):
    """Which page, of which threads."""

    schema_name: ClassVar[str] = "ThreadQuery"
    q: (
        Annotated[
            str,
            v.said(
                "Only threads that have all these words, or parts of words, in their id or title. A page may then have"
                " fewer than `limit`, or none, and another follow.",
                "refund",
            ),
        ]
        | None
    ) = None


class RunListQuery(RunFilterQuery, frozen=True):
    """Filters, which all apply, and which page."""

    schema_name: ClassVar[str] = "RunsQuery"
    limit: Annotated[int, v.limit(MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: v.Cursor | None = None


class FoundWords(msgspec.Struct, frozen=True):
    """Where a run has words of a search: in the place that has most of them."""

    place: Annotated[
        str,
        v.said(
            "`talk` is questions, answers and messages; `about` error, phase and metadata; `sender_id` what its sender "
            "calls it.",
            "input",
            enum=PLACES,
        ),
    ]
    excerpt: Annotated[str, v.said("What stands there, in small letters: at most 160 characters.", "leaning towers")]


class RunListing(Listing[RunDetail], frozen=True):
    """A page of runs. A search looks back for a second: its page may then have few runs or none, and `next` goes on."""

    found: (
        Annotated[
            dict[str, FoundWords],
            v.said("Of a search for words: where each run of this page has them, by run id; null without `q`."),
        ]
        | None
    )
    searched_to: (
        Annotated[
            str,
            v.said(
                "Of a search that has looked back as far as a second allows: older runs than this were not looked at, "
                "and `next` goes on there; null otherwise.",
                None,
                format="date-time",
            ),
        ]
        | None
    )


class PrefixQuery(msgspec.Struct, frozen=True):
    """`prefix` is the beginning of a run's id, with or without its dashes; without one, the oldest ids are listed."""

    schema_name: ClassVar[str] = "PrefixQuery"
    prefix: (
        Annotated[str, v.said("How the ids begin, with or without dashes; without it, the oldest ids.", "0196b2c4")]
        | None
    ) = None


class EventsQuery(CursorQuery, frozen=True):
    """`after_seq` begins after that event; `cursor` continues where a page ended, and takes precedence.

    `type` takes several, comma-separated; `quarantined` shows what was refused to a worker without the lease.
    """

    limit: Annotated[int, v.limit(MAX_EVENT_LIMIT)] = DEFAULT_LIMIT
    after_seq: Annotated[int, v.said("Begin after this event.", 3, minimum=0)] = 0
    type: Annotated[str, v.said("Only events of these types, comma-separated.", "step,tool.call")] | None = None
    quarantined: Annotated[
        Literal["true", "false"], v.said("`true`: what was refused to a worker that had lost the lease.", "false")
    ] = "false"


def _run_id(call: Call) -> str:
    return path_uuid(call.path["run_id"], "run")


def _decode_runs(call: Call) -> ListRuns:
    return ListRuns(read_filter(call.query), limit_of(call), read_cursor("runs", call.query.get("cursor")), "cursor")


def _decode_find(call: Call) -> FindRuns:
    digits = (call.query.get("prefix") or "").replace("-", "").lower()
    if not _PREFIX.fullmatch(digits):
        raise invalid_field("prefix", "must be the beginning of a run's id: at most 32 hexadecimal digits")
    # The dashes of a UUID stand after its 8th, 12th, 16th and 20th digit.
    parts = [digits[start:end] for start, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]
    return FindRuns("-".join(part for part in parts if part), MAX_RUN_IDS)


def _encode_find(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("run-ids", outcome, lambda run_id: run_id)


def _encode_runs(outcome: Page, command: object, call: Call) -> Reply:
    credit = call.settings.credits_per_dollar
    rows = [shapes.run_of(view, credit) for view in outcome.rows]  # type: ignore[arg-type]  # ListRuns gives those
    to = format_optional_ms(outcome.searched_to)
    hits = outcome.hits
    found = None if hits is None else {run_id: FoundWords(hit.place, hit.excerpt) for run_id, hit in hits.items()}
    return reply_json(RunListing(rows, write_cursor("runs", outcome.next), found, to), 200, live_header(outcome))


def _decode_run(call: Call) -> GetRun:
    return GetRun(_run_id(call), tree=True)


def _encode_run(outcome: RunView, command: object, call: Call) -> Reply:
    return reply_json(shapes.tree_of(outcome, call.settings.credits_per_dollar))


def _decode_events(call: Call) -> ListEvents:
    return _list_events(call, query_truth(call.query, "quarantined", False))


def _decode_quarantine(call: Call) -> ListEvents:
    return _list_events(call, True)


def _list_events(call: Call, quarantined: bool) -> ListEvents:
    after = query_int(call.query, "after_seq", 0, 0, MAX_SEQ)
    if call.query.get("cursor"):
        after = read_number("events", call.query.get("cursor"))
    return ListEvents(
        run_id=_run_id(call),
        limit=limit_of(call, MAX_EVENT_LIMIT),
        after_seq=after,
        types=words_of(call.query.get("type"), _TYPES, "type"),
        quarantined=quarantined,
    )


def _encode_events(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("events", outcome, shapes.event_of)


def _decode_checkpoints(call: Call) -> ListCheckpoints:
    return ListCheckpoints(_run_id(call), limit_of(call), read_step("checkpoints", call.query.get("cursor")))


def _encode_checkpoints(outcome: Page, command: ListCheckpoints, call: Call) -> Reply:
    last = outcome.rows[-1] if outcome.rows else None
    key = f"{last.step_index}:{last.agent}" if isinstance(last, CheckpointRow) else None
    return page_reply("checkpoints", outcome, lambda row: shapes.checkpoint_of(row, command.run_id), key)


def _decode_checkpoint(call: Call) -> GetCheckpoint:
    step, _, agent = call.path["checkpoint_id"].partition(":")
    if not (step.isascii() and step.isdigit() and len(step) <= 9):
        raise NotFound("checkpoint")
    return GetCheckpoint(_run_id(call), int(step), shapes.agent_of_id(agent) or None)


def _encode_checkpoint(outcome: CheckpointView, command: object, call: Call) -> Reply:
    return reply_json(shapes.state_of(outcome))


def _decode_threads(call: Call) -> ListThreads:
    words = bounded_text(call.query.get("q"), "q")
    check_asked(words)
    return ListThreads(limit_of(call), read_cursor("threads", call.query.get("cursor")), words)


def _encode_threads(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("threads", outcome, shapes.thread_of)


def _decode_thread(call: Call) -> GetThread:
    return GetThread(path_id(call.path["thread_id"], "thread"))


def _encode_thread(outcome: ThreadView, command: object, call: Call) -> Reply:
    return reply_json(shapes.thread_of(outcome.row))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/runs", "list_runs", "Runs, newest first.", READ, _decode_runs, _encode_runs,
        query=RunListQuery, reply=RunListing,
    ),
    Endpoint(
        "GET", "/api/v1/run-ids", "find_runs", "The ids of runs that begin with a prefix, at most 20.", READ,
        _decode_find, _encode_find, query=PrefixQuery, reply=Listing[str],
    ),
    Endpoint(
        "GET", "/api/v1/runs/{run_id}", "get_run", "A run with its descendants.", READ, _decode_run, _encode_run,
        reply=shapes.RunTree,
    ),
    Endpoint(
        "GET", "/api/v1/runs/{run_id}/events", "list_events", "A run's log, in order.", READ,
        _decode_events, _encode_events, query=EventsQuery, reply=Listing[shapes.LoggedEvent],
    ),
    Endpoint(
        "GET", "/api/v1/runs/{run_id}/quarantine", "list_quarantine", "What a worker without the lease sent.", READ,
        _decode_quarantine, _encode_events, query=CursorQuery, reply=Listing[shapes.LoggedEvent],
    ),
    Endpoint(
        "GET", "/api/v1/runs/{run_id}/checkpoints", "list_checkpoints", "A run's checkpoints by step.", READ,
        _decode_checkpoints, _encode_checkpoints, query=CursorQuery, reply=Listing[shapes.Checkpoint],
    ),
    Endpoint(
        "GET", "/api/v1/runs/{run_id}/checkpoints/{checkpoint_id}", "get_checkpoint",
        "A checkpoint with its history; its id is the step, or step:agent.", READ,
        _decode_checkpoint, _encode_checkpoint, reply=shapes.CheckpointState,
    ),
    Endpoint(
        "GET", "/api/v1/threads", "list_threads", "Threads, newest first.", READ, _decode_threads, _encode_threads,
        query=ThreadQuery, reply=Listing[shapes.Thread],
    ),
    Endpoint(
        "GET", "/api/v1/threads/{thread_id}", "get_thread", "A thread.", READ, _decode_thread, _encode_thread,
        reply=shapes.Thread,
    ),
)  # fmt: skip
"""The endpoints that read runs and threads."""
