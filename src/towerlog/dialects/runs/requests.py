"""Requests of the `runs` dialect: bodies and query parameters, and the commands that they become.

Every refusal names its field. Nothing is looked up here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from towerlog import errors
from towerlog.dialects import base, details
from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.base import DEFAULT_PAGE, MAX_PAGE, Call
from towerlog.dialects.fields import (
    MAX_LABELS,
    MAX_SEQ,
    NULL,
    JsonObject,
    Warnings,
    agent_name,
    bounded_text,
    decode,
    decode_body,
    invalid_field,
    one_line,
    optional_id,
    page_limit,
    path_id,
    path_uuid,
    time_ms_of,
)
from towerlog.dialects.run_json import STATUS_OF
from towerlog.dialects.steering_json import TextOrObject, input_text
from towerlog.model.agent import is_blank
from towerlog.model.command import MAX_INPUT_BYTES, CancelRun, CreateRun, CreateThread, GiveInput, InputType
from towerlog.model.lane import MAX_LABELS_BYTES
from towerlog.model.question import FollowRun, GetRun, GetThread, ListRuns, ListThreadRuns, ListThreads, RunFilter
from towerlog.model.run_text import check_asked

_CURSOR = re.compile(r"(?:(?P<epoch>[0-9A-Za-z_.]+)-)?(?P<seq>[0-9]{1,40})")


def _null() -> msgspec.Raw:
    return NULL


class RunBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A new run. Every field is optional."""

    route_id: v.RouteId | None = None
    persona_id: v.PersonaId | None = None
    agent: v.AgentName | None = None
    parent_run_id: Annotated[str, v.run_id("The run that starts this one.")] | None = None
    input: Annotated[TextOrObject, v.said("The first message: a text or an object.", "Which towers are listed?")] = (
        msgspec.field(default_factory=_null)
    )
    metadata: Annotated[JsonObject, v.said("Free metadata, shown with the run.", {"ticket": "T-1"})] = msgspec.field(
        default_factory=_null
    )
    labels: (
        Annotated[dict[str, str], v.said("Labels that a worker must have to claim the run.", {"gpu": "a100"})] | None
    ) = None


class ThreadBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A thread to create; it may exist already."""

    thread_id: Annotated[str, v.said("An id of the caller's; absent: a new one is made.", "towers")] | None = None
    title: v.Title | None = None
    policy: (
        Annotated[
            Literal["enqueue", "reject", "cancel_previous"],
            v.said("What happens to a run that is created while another of the thread has not ended.", "enqueue"),
        ]
        | None
    ) = None


class InputBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An answer, or a message to the agent. `question_id`: which question, else the oldest open one.
    `type`: which of the two it is, for those who know."""

    content: v.Content
    question_id: (
        Annotated[
            Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)],
            v.said("The question that this answers; without it, the oldest open one.", 4),
        ]
        | None
    ) = None
    asked_seq: (
        Annotated[
            Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)],
            v.said(
                "With `question_id`: the event with the words that this answers, as `questions` of the run tells. A "
                "question that is asked in other words by now is not answered: 409.",
                4,
            ),
        ]
        | None
    ) = None
    type: (
        Annotated[
            InputType,
            v.said(
                "`input`: an answer, and nothing else. `message`: no answer, even while a question is open. "
                "Without it, an answer where the run waits for one, else a message.",
                "input",
            ),
        ]
        | None
    ) = None


class CancelBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Why a run is cancelled."""

    reason: v.Reason | None = None


class RunsQuery(msgspec.Struct):
    """Filters; all of them apply."""

    limit: Annotated[int, v.limit(MAX_PAGE)] = DEFAULT_PAGE
    before: Annotated[str, v.run_id("The `run_id` of the last row of the page before.")] | None = None
    status: Annotated[str, v.said("Only runs of this status.", "running")] | None = None
    agent: v.AgentName | None = None
    thread_id: v.ThreadId | None = None
    model: v.ModelName | None = None
    persona_id: v.PersonaId | None = None
    parent_run_id: Annotated[str, v.run_id("Only the children of this run.")] | None = None
    since: v.Since | None = None
    until: v.Until | None = None
    q: Annotated[str, v.said("Only runs that have this text in an id or in their agent's name.", "tower")] | None = None


class PageQuery(msgspec.Struct):
    """A page of a list."""

    limit: Annotated[int, v.limit(MAX_PAGE)] = DEFAULT_PAGE
    before: Annotated[str, v.said("The `thread_id` of the last row of the page before.", "towers")] | None = None


class LimitQuery(msgspec.Struct):
    """The most rows to list."""

    limit: Annotated[int, v.limit(MAX_PAGE)] = DEFAULT_PAGE


class StreamQuery(msgspec.Struct):
    """Where a stream begins, and whether it follows the run."""

    after_seq: Annotated[int, v.said("Begin after this event. `Last-Event-ID` wins over it.", 3, minimum=0)] = 0
    follow: Annotated[Literal["true", "false"], v.said("`false`: what is there, then the end.", "true")] = "true"


_RUN_BODY = msgspec.json.Decoder(RunBody)
_THREAD_BODY = msgspec.json.Decoder(ThreadBody)
_INPUT_BODY = msgspec.json.Decoder(InputBody)
_CANCEL_BODY = msgspec.json.Decoder(CancelBody)


def decode_create(call: Call) -> CreateRun:
    """Creates a run; the body may be empty."""
    thread_id = path_id(call.path["thread_id"], "thread")
    body = decode(_RUN_BODY, call.body) if call.has_body else RunBody()
    parent = optional_id(body.parent_run_id, "parent_run_id")
    warnings: Warnings = []
    metadata = _metadata(body.metadata, call.settings, warnings)
    return CreateRun(
        thread_id=thread_id,
        agent=agent_name(body.agent, "agent", warnings),
        persona_id=bounded_text(body.persona_id, "persona_id"),
        route_id=bounded_text(body.route_id, "route_id"),
        parent_run_id=None if parent is None else _run_id(parent, "parent_run_id"),
        input=input_text(body.input, call.settings),
        metadata=metadata,
        labels=_labels(body.labels),
        warnings=tuple(warnings),
    )


def _metadata(raw: msgspec.Raw, settings: base.DialectSettings, warnings: Warnings) -> bytes | None:
    """All of it: what a run's row cannot take stays in the event of its creation."""
    if bytes(raw) == b"null":
        return None
    details.metadata(raw, "metadata", warnings)
    return one_line(raw, "metadata", settings.max_depth, settings.max_event_bytes)


def _labels(given: dict[str, str] | None) -> dict[str, str]:
    labels = given or {}
    if len(labels) > MAX_LABELS:
        raise invalid_field("labels", f"has more than {MAX_LABELS} entries")
    for name, value in labels.items():
        bounded_text(name, "labels")
        bounded_text(value, "labels")
    if len(msgspec.json.encode(labels)) > MAX_LABELS_BYTES:
        raise invalid_field("labels", f"have more than {MAX_LABELS_BYTES} bytes together as JSON")
    return labels


def _run_id(text: str, field: str) -> str:
    try:
        return path_uuid(text, "run")
    except errors.NotFound:
        # In a query or a body it is a wrong field; in a path it would be a 404.
        raise invalid_field(field, "is not the id of a run") from None


def decode_list_of_thread(call: Call) -> ListThreadRuns:
    """A thread's runs."""
    return ListThreadRuns(path_id(call.path["thread_id"], "thread"), page_limit(call))


def decode_list(call: Call) -> ListRuns:
    """A page of all runs."""
    before = call.query.get("before")
    return ListRuns(_filter(call.query), page_limit(call), _run_id(before, "before") if before else None)


_NAMED = ("thread_id", "model", "persona_id", "q")


def _filter(query: Mapping[str, str]) -> RunFilter:
    status = query.get("status")
    if status and status not in STATUS_OF:
        raise invalid_field("status", "must be one of " + ", ".join(STATUS_OF))
    named: dict[str, Any] = {name: bounded_text(query.get(name), name) for name in _NAMED}
    check_asked(named["q"])
    parent = bounded_text(query.get("parent_run_id"), "parent_run_id")
    return RunFilter(
        agent=agent_asked(query.get("agent"), "agent"),
        statuses=(STATUS_OF[status],) if status else None,
        parent_run_id=parent.lower() if parent else None,
        since=time_ms_of(query.get("since"), "since"),
        until=time_ms_of(query.get("until"), "until"),
        **named,
    )


def decode_get(call: Call) -> GetRun:
    """One run."""
    return GetRun(path_uuid(call.path["run_id"], "run"))


def decode_cancel(call: Call) -> CancelRun:
    """Cancels a run, with an optional reason."""
    run_id = path_uuid(call.path["run_id"], "run")
    body = decode(_CANCEL_BODY, call.body) if call.has_body else CancelBody()
    return CancelRun(run_id, bounded_text(body.reason, "reason", 2000))


def decode_input(call: Call) -> GiveInput:
    """Sends an input, which must be neither blank nor too long."""
    run_id = path_uuid(call.path["run_id"], "run")
    body = decode_body(_INPUT_BODY, call.body)
    content = body.content
    if is_blank(content):
        raise invalid_field("content", "must not be blank")
    # Characters first: a text with too many needs no encoding to be refused.
    if len(content) > MAX_INPUT_BYTES or len(content.encode()) > MAX_INPUT_BYTES:
        raise invalid_field("content", f"is longer than {MAX_INPUT_BYTES} bytes")
    if body.type == "message" and body.question_id is not None:
        raise invalid_field("question_id", "a message answers no question")
    if body.asked_seq is not None and body.question_id is None:
        raise invalid_field("asked_seq", "needs a question_id")
    return GiveInput(run_id, content, body.question_id, body.type, asked_seq=body.asked_seq)


def decode_follow(call: Call) -> FollowRun:
    """Follows a run after a cursor."""
    run_id = path_uuid(call.path["run_id"], "run")
    follow = call.query.get("follow") or "true"
    if follow not in {"true", "false"}:
        raise invalid_field("follow", "must be true or false")
    asked = _seq(call.query.get("after_seq", ""), "after_seq")
    seen = _seq(call.headers.get(b"last-event-id", b"").decode("latin-1"), "Last-Event-ID")
    # A reconnecting browser repeats the URL, so the header is newer.
    after_seq, epoch = seen or asked or (0, None)
    return FollowRun(run_id, after_seq, follow == "true", epoch, seen is not None)


def decode_agui(call: Call) -> FollowRun:
    """Follows a run from its beginning, as a client of AG-UI expects it."""
    return FollowRun(path_uuid(call.path["run_id"], "run"), 0, True, None, False)


def _seq(text: str, field: str) -> tuple[int, str | None] | None:
    if not text:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise invalid_field(field, "must be a sequence number, 0 or more")
    # A cursor past the end is no error: the follower is told that it is of another log.
    return min(int(found["seq"]), MAX_SEQ), found["epoch"]


def decode_create_thread(call: Call) -> CreateThread:
    """Creates a thread under the caller's id or a new one."""
    body = decode(_THREAD_BODY, call.body) if call.has_body else ThreadBody()
    return CreateThread(optional_id(body.thread_id, "thread_id"), bounded_text(body.title, "title"), body.policy)


def decode_list_threads(call: Call) -> ListThreads:
    """A page of threads."""
    return ListThreads(page_limit(call), optional_id(call.query.get("before"), "before"))


def decode_get_thread(call: Call) -> GetThread:
    """One thread."""
    return GetThread(path_id(call.path["thread_id"], "thread"))
