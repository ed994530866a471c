"""Dialect `checkpoints`: runners send batches of events with snapshots of a thread, and read back the state to resume.

Also the approval of pending tool calls by people. `events.py` says what each event becomes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from towerlog.dialects import base, checkpoint_event, details, fields
from towerlog.dialects import vocabulary as v
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.base import Call, Dialect, Endpoint, Reply, Warned, reply_json
from towerlog.dialects.checkpoints.approvals import APPROVALS, SHOWN, calls_in
from towerlog.dialects.checkpoints.events import Places, RunnerEvent, draft_of
from towerlog.dialects.fields import Warnings
from towerlog.dialects.members import kind_of
from towerlog.dialects.structure import check_length
from towerlog.errors import Invalid, TowerlogError
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.command import Append
from towerlog.model.event import Draft, Item, Refusal, RunById
from towerlog.model.outcome import Appended, Stored
from towerlog.model.principal import Scope
from towerlog.model.question import LatestCheckpoint

NAME = "checkpoints"
MAX_EVENTS = 1000
STATUS_WORDS = checkpoint_event.STATUS_WORDS
STATUS_OF = checkpoint_event.STATUS_OF


class RunnerEvents(msgspec.Struct, frozen=True):
    """The body of a batch."""

    events: Annotated[
        Annotated[list[RunnerEvent], msgspec.Meta(max_length=MAX_EVENTS)],
        v.said("The events, in the order in which they happened."),
    ]


class Rejected(msgspec.Struct, frozen=True):
    """Why an event of the batch is not stored."""

    index: v.Index
    code: v.Code
    message: v.Message


class RunnerCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pending command of a run; sent with each reply until an event acknowledges it."""

    type: v.CommandType
    command_id: v.CommandId
    run_id: v.RunId
    thread_id: v.ThreadId | None = None
    content: v.Content | None = None
    question_id: v.QuestionId | None = None
    expired: v.Expired = False


class Saved(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many events of the batch are on stable storage, and why the others are not."""

    saved: Annotated[int, v.said("How many events are on stable storage.", 2)]
    rejected: Annotated[list[Rejected], v.said("The events that are not, and why.")] = []
    commands: Annotated[list[RunnerCommand], v.said("What people have asked of the runs since.")] = []
    warnings: Warned = msgspec.UNSET


Messages = Annotated[
    list[msgspec.Raw], v.said("The messages, as they were sent.", [{"role": "assistant", "content": "Two towers."}])
]


class StoredCheckpoint(msgspec.Struct, frozen=True):
    """The messages once more: where a generated agent's `/chat` looks for them."""

    history: Messages


class ThreadState(msgspec.Struct, frozen=True):
    """The state that a thread resumes from."""

    thread_id: v.ThreadId
    trace_id: v.TraceId
    step_index: v.StepIndex
    status: v.CheckpointStatus
    history: Messages
    history_meta: (
        Annotated[
            list[msgspec.Raw], v.said("What was sent beside each message; null where nothing was.", [{"tokens": 12}])
        ]
        | None
    )
    turn_start_history_len: Annotated[msgspec.Raw, v.said("How many messages there were when the turn began.", 1)]
    pending_tool_calls: Annotated[
        msgspec.Raw,
        v.said("The tool calls that wait for a decision.", [{"id": "call_1", "name": "delete_page", "arguments": {}}]),
    ]
    checkpoint: Annotated[
        StoredCheckpoint, v.said("The history once more, where the `/chat` of generated agents looks for it.")
    ]


class LatestQuery(msgspec.Struct, frozen=True):
    """Whose state, if not that of the thread."""

    trace_id: (
        Annotated[str, v.said("The run, by its trace in the thread; a sub-agent's is reached so.", "sub-1")] | None
    ) = None
    agent_id: Annotated[str, v.said("Whose checkpoint, where several agents report.", "researcher")] | None = None


# Reading a batch

_BATCH = msgspec.json.Decoder(RunnerEvents)
_EVENT = msgspec.json.Decoder(RunnerEvent)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class _Envelope(msgspec.Struct, frozen=True):
    events: msgspec.Raw


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def _decode_events(call: Call) -> Append:
    places = Places()
    warnings: Warnings = []

    def item(event: RunnerEvent, _index: int, found: Warnings) -> Item:
        return draft_of(event, call.settings, places, found)

    items = details.items_of(_events(call.body), item, warnings)
    return Append(NAME, items, warnings=tuple(warnings))


def _events(body: bytes) -> Iterable[RunnerEvent | Refusal]:
    """The events of a batch: decoded in one pass, or one by one if one of them is wrong.

    More `data` than a batch may have events is a flood or a very deep batch: neither is decoded without a look. Each
    stands in an object, and brackets are counted in half the time.
    """
    if body.count(b"{") <= 4 * MAX_EVENTS or body.count(b'"data"') <= 4 * MAX_EVENTS:
        try:
            return _BATCH.decode(body).events
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            # Decoding one by one below finds out which event is wrong, and stores the others.
            pass
    return [_event(raw) for raw in _raw_events(body)]


def _raw_events(body: bytes) -> list[msgspec.Raw]:
    text = bytes(fields.decode(_ENVELOPE, body).events)
    if text[:1] != b"[":
        raise fields.invalid_field("events", f"Expected `array`, got {kind_of(text)}")
    check_length(text, "events", MAX_EVENTS)
    return _LIST.decode(text)


def _event(raw: msgspec.Raw) -> RunnerEvent | Refusal:
    text = bytes(raw)
    try:
        if text[:1] != b"{":
            raise fields.invalid_field("event", f"Expected `object`, got {kind_of(text)}")
        return details.decode_event(_EVENT, text, "", ("sequence_num", "occurred_at"))
    except Invalid as error:
        return fields.refusal(error)


# Answering a batch


def _encode_saved(outcome: Appended, command: Append, call: Call) -> Reply:
    rejected = [
        Rejected(index, result.code, result.message)
        for index, result in enumerate(outcome.results)
        if isinstance(result, Refusal)
    ]
    saved = len(outcome.results) - len(rejected)
    # A sender retries a batch on an error status, so one stored event makes it a success.
    status = 422 if rejected and not saved else 200
    return reply_json(Saved(saved, rejected, _commands(outcome, command)), status)


def _commands(outcome: Appended, asked: Append) -> list[RunnerCommand]:
    """The pending commands of the runs in this batch, each once, with the thread as the runner named it."""
    wanted: dict[tuple[str, int], RunnerCommand] = {}
    for index, result in enumerate(outcome.results):
        if not isinstance(result, Stored):
            continue
        for pending in result.commands:
            # The outcome has run ids only; the runner knows its threads by the ids that it sent.
            thread_id = _thread_of(asked.items[index])
            said = (pending.content, pending.question_id, pending.expired)
            command = RunnerCommand(pending.type, pending.command_id, result.run_id, thread_id, *said)
            wanted.setdefault((result.run_id, pending.command_id), command)
    return list(wanted.values())


def _thread_of(item: Item) -> str | None:
    """The thread that an event of a batch names."""
    return item.run.thread_id if isinstance(item, Draft) and not isinstance(item.run, RunById) else None


# The state to resume from, and approvals


def _decode_latest(call: Call) -> LatestCheckpoint:
    thread_id = fields.path_id(call.path["thread_id"], "thread")
    # Not looked into, a parameter would leave who asks with the state of somebody else.
    unknown = next((name for name in call.query if name not in LatestQuery.__struct_fields__), None)
    if unknown is not None:
        known = ", ".join(LatestQuery.__struct_fields__)
        why = f"is not a parameter of this endpoint; it takes {known}"
        raise fields.invalid_field(unknown[: fields.MAX_SHOWN_CHARS], why)
    trace_id = fields.optional_id(call.query.get("trace_id"), "trace_id")
    return LatestCheckpoint(thread_id, trace_id, agent_asked(call.query.get("agent_id"), "agent_id"))


def _encode_latest(view: CheckpointView, command: object, _call: Call) -> Reply:
    shown = SHOWN.decode(view.figures)
    # `null` and `[]` were sent as different things and are given back as such.
    meta, history = view.history_meta, [msgspec.Raw(message) for message in view.history]
    return reply_json(
        ThreadState(
            thread_id=view.row.thread_id,
            trace_id=view.trace_id,
            step_index=view.row.step_index,
            status=view.row.status,
            history=history,
            history_meta=None if meta is None else [msgspec.Raw(entry) for entry in meta],
            turn_start_history_len=shown.turn_start_history_len,
            pending_tool_calls=calls_in(shown),
            checkpoint=StoredCheckpoint(history),
        )
    )


def _explain(error: TowerlogError, _trace_id: str) -> Reply:
    status = base.status_of(error)
    return reply_json({"detail": error.message}, status, base.error_headers(error, status))


def _events_endpoint(prefix: str, name: str) -> Endpoint:
    return Endpoint(
        "POST",
        f"{prefix}/v1/runners/events",
        name,
        "Store a batch of a runner's events",
        base.scopes(Scope.INGEST),
        _decode_events,
        _encode_saved,
        ingests=True,
        request=RunnerEvents,
        reply=Saved,
        refuses_by_item=True,
    )


def _latest_endpoint(prefix: str, name: str) -> Endpoint:
    return Endpoint(
        "GET",
        f"{prefix}/v1/runners/threads/{{thread_id}}/latest",
        name,
        "The state that a thread resumes from",
        base.scopes(Scope.READ, Scope.INGEST),
        _decode_latest,
        _encode_latest,
        reply=ThreadState,
        query=LatestQuery,
    )


DIALECT = Dialect(
    NAME,
    "Runner events: snapshots of a thread after each turn",
    (
        _events_endpoint("", "checkpoints.events"),
        _events_endpoint("/internal", "checkpoints.events_local"),
        _latest_endpoint("", "checkpoints.latest"),
        _latest_endpoint("/internal", "checkpoints.latest_local"),
        *APPROVALS,
    ),
    _explain,
)
