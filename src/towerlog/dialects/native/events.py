"""Native endpoints that take events: of any runs of a client, or of the run that it holds under a lease.

A wrong event is refused alone: the others of its batch are stored, and the reply has a result for each. Pending
commands of the runs are in every reply until an event acknowledges them.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from towerlog import errors
from towerlog.dialects import details, fields
from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, Warned, reply_json, scopes
from towerlog.dialects.fields import NULL, Count, Warnings
from towerlog.dialects.native import shapes
from towerlog.dialects.native.client_events import (
    NAME,
    client_draft,
    run_ref,
    visible,
)
from towerlog.dialects.native.event_json import ClientEvent, ReportedEvent, Visible
from towerlog.dialects.run_events import lease_ms_of
from towerlog.dialects.structure import check_length
from towerlog.errors import Invalid, TowerlogError
from towerlog.model.command import Append, Report
from towerlog.model.event import Item, Refusal, RunByForeignId, RunById
from towerlog.model.outcome import Appended, LaneView, Reported, Stored
from towerlog.model.pending import Pending
from towerlog.model.principal import Scope

MAX_EVENTS = 500
MAX_RUNS = 100
MAX_WAIT_SECONDS = 30
MAX_REPORT_WAIT_SECONDS = 60
_MAX_ECHO_BYTES = 1024
_COUNTED_ABOVE_BYTES = 1 << 20

E = TypeVar("E", bound=ReportedEvent)


class EventsBody(msgspec.Struct, gc=False):
    """A batch of a client's events. `runs`: keys of further runs whose commands are asked for.

    `wait_seconds` holds the reply back until a command is there.
    """

    client_id: Annotated[Visible, v.said("The reporting process; its events are numbered for each run.", "desk-1")]
    events: Annotated[
        Annotated[list[ClientEvent], msgspec.Meta(max_length=MAX_EVENTS)],
        v.said("The events, in the order in which they happened."),
    ]
    runs: (
        Annotated[
            Annotated[list[Visible], msgspec.Meta(max_length=MAX_RUNS)],
            v.said("Keys of further runs whose commands are asked for.", ["letter-6"]),
        ]
        | None
    ) = None
    wait_seconds: (
        Annotated[
            Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_SECONDS)],
            v.said("How long the reply may wait for a command.", 20),
        ]
        | None
    ) = None


class RunReportBody(msgspec.Struct, gc=False):
    """A batch of events of a claimed run, from the holder of its lease. Renews the lease.

    `wait_seconds` holds the reply back until a command is there.
    """

    worker_id: v.WorkerId
    lease_epoch: Annotated[Count, v.said("The epoch that the claim answered.", 1)]
    events: Annotated[
        Annotated[list[ReportedEvent], msgspec.Meta(max_length=MAX_EVENTS)],
        v.said("The events, in the order in which they happened."),
    ]
    lease_seconds: v.LeaseSeconds | None = None
    client_id: (
        Annotated[Visible, v.said("The reporting process; its events are numbered for each run.", "desk-1")] | None
    ) = None
    wait_seconds: (
        Annotated[
            Annotated[int, msgspec.Meta(ge=0, le=MAX_REPORT_WAIT_SECONDS)],
            v.said("How long the reply may wait for a command.", 20),
        ]
        | None
    ) = None


class EventResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The result of one event: `stored`, `duplicate`, or `refused` with a reason."""

    event_id: Annotated[msgspec.Raw, v.said("The event's id, as it was sent.", "a1")] | None
    status: Annotated[
        str,
        v.said(
            "Whether it is stored now, was before, or is refused.", "stored", enum=["stored", "duplicate", "refused"]
        ),
    ]
    run_id: v.RunId | None
    seq: v.Seq | None
    code: v.Code | None = None
    message: v.Message | None = None
    field: v.FieldName | None = None


class RunCommand(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A pending command of a run; sent with each reply until an event acknowledges it."""

    run_key: v.RunKey
    run_id: v.RunId
    command_id: v.CommandId
    type: v.CommandType
    content: v.Content | None = None
    question_id: v.QuestionId | None = None
    question_key: Annotated[str, v.said("The key that the agent gave the question, if it gave one.", "send")] | None = (
        None
    )
    expired: v.Expired = False


class EventsReply(msgspec.Struct):
    """One result for each event, in order, and the pending commands of the runs."""

    results: Annotated[list[EventResult], v.said("One for each event, in order.")]
    commands: Annotated[list[RunCommand], v.said("What people ask of the runs, until it is acknowledged.")]
    warnings: Warned = msgspec.UNSET


class RunReportReply(msgspec.Struct):
    """One result for each event, in order, the pending commands of the run, and its lease."""

    results: Annotated[list[EventResult], v.said("One for each event, in order.")]
    commands: Annotated[list[RunCommand], v.said("What people ask of the run, until it is acknowledged.")]
    run: Annotated[shapes.LaneState, v.said("The run's lease, after the report.")]
    warnings: Warned = msgspec.UNSET


_EVENTS = msgspec.json.Decoder(EventsBody)
_REPORT = msgspec.json.Decoder(RunReportBody)
_CLIENT_EVENT = msgspec.json.Decoder(ClientEvent)
_REPORTED_EVENT = msgspec.json.Decoder(ReportedEvent)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


class _Named(msgspec.Struct, gc=False):
    event_id: msgspec.Raw = NULL


_NAMED = msgspec.json.Decoder(_Named)
_encode_id = msgspec.json.Encoder().encode


def _decode_events(call: Call) -> Append:
    body, events, sent_ids = _read(_EVENTS, _CLIENT_EVENT, call.body)
    client_id = visible(body.client_id, "client_id")
    refs: dict[str, RunByForeignId] = {}
    named: dict[tuple[str, str | None], RunByForeignId] = {}
    warnings: Warnings = []

    def item(event: ClientEvent, index: int, found: Warnings) -> Item:
        ref = named.get((event.run_key, event.thread))
        if ref is None:
            ref = run_ref(event.run_key, event.thread, f"events.{index}.run_key", f"events.{index}.thread")
            named[event.run_key, event.thread] = ref
        draft = client_draft(event, index, ref, client_id, call.settings, found)
        # Only runs with a readable event are asked about: a refused one may name any key.
        refs.setdefault(ref.foreign_id, ref)
        return draft

    items = details.items_of(events, item, warnings)
    going_on = [run_ref(run_key, None, f"runs.{index}") for index, run_key in enumerate(body.runs or ())]
    for ref in going_on:
        refs.setdefault(ref.foreign_id, ref)
    return Append(
        NAME,
        items,
        polled=tuple(refs.values()),
        wait_ms=1000 * (body.wait_seconds or 0),
        going_on=frozenset(ref.foreign_id for ref in going_on),
        sent_ids=tuple(sent_ids),
        warnings=tuple(warnings),
    )


def _encode_events(outcome: Appended, command: Append, call: Call) -> Reply:
    commands = [
        _command(one.ref.foreign_id.removeprefix(f"{NAME}:"), one.row.run_id, pending)
        for one in outcome.polled
        for pending in one.row.pending
    ]
    return reply_json(EventsReply(_results(outcome.results, command.sent_ids), commands))


def _decode_report(call: Call) -> Report:
    run_id = fields.path_uuid(call.path["run_id"], "run")
    body, events, sent_ids = _read(_REPORT, _REPORTED_EVENT, call.body)
    client_id = None if body.client_id is None else visible(body.client_id, "client_id")
    ref = RunById(run_id)
    warnings: Warnings = []

    def item(event: ReportedEvent, index: int, found: Warnings) -> Item:
        return client_draft(event, index, ref, client_id, call.settings, found)

    return Report(
        run_id=run_id,
        worker_id=fields.text_id(body.worker_id, "worker_id", in_urls=False),
        items=details.items_of(events, item, warnings),
        lease_ms=lease_ms_of(body.lease_seconds, None, call.settings),
        lease_epoch=body.lease_epoch,
        wait_ms=1000 * (body.wait_seconds or 0),
        dialect=NAME,
        sent_ids=tuple(sent_ids),
        warnings=tuple(warnings),
    )


def _encode_report(outcome: Reported, command: Report, call: Call) -> Reply:
    row = outcome.view.row
    commands = [_command(row.run_id, row.run_id, pending) for pending in row.pending]
    run = shapes.lane_of(LaneView(outcome.view, outcome.lane))
    return reply_json(RunReportReply(_results(outcome.results, command.sent_ids), commands, run))


def _command(run_key: str, run_id: str, pending: Pending) -> RunCommand:
    return RunCommand(
        run_key=run_key,
        run_id=run_id,
        command_id=pending.command_id,
        type=pending.type,
        content=pending.content,
        question_id=pending.question_id,
        question_key=pending.question_key,
        expired=pending.expired,
    )


def _results(results: list[Stored | Refusal], sent_ids: tuple[bytes | None, ...]) -> list[EventResult]:
    return [_result(index, text, found) for index, (text, found) in enumerate(zip(sent_ids, results, strict=True))]


def _result(index: int, sent_id: bytes | None, found: Stored | Refusal) -> EventResult:
    event_id = None if sent_id is None else msgspec.Raw(sent_id)
    if isinstance(found, Stored):
        status = "duplicate" if found.duplicate else "stored"
        return EventResult(event_id=event_id, status=status, run_id=found.run_id, seq=found.seq)
    field, place = found.field, f"events.{index}"
    # Refusals of the engine name a field within the event, those of the decoder the whole path.
    if field is not None and field != place and not field.startswith(f"{place}."):
        field = f"{place}.{field}"
    return EventResult(
        event_id=event_id,
        status="refused",
        run_id=None,
        seq=None,
        code=found.code,
        message=found.message,
        field=field,
    )


# Reading a batch


def _read(
    decoder: msgspec.json.Decoder[Any], one: msgspec.json.Decoder[E], body: bytes
) -> tuple[Any, list[E | Refusal], list[bytes | None]]:
    """The body, its events (those that cannot be read are refusals), and the id of each as the reply repeats it."""
    if len(body) > _COUNTED_ABOVE_BYTES:
        _count(body)
    try:
        whole = fields.decode(decoder, body)
    except Invalid as error:
        return _read_singly(decoder, one, body, error)
    return whole, whole.events, [_repeated(_encode_id(event.event_id)) for event in whole.events]


def _repeated(event_id: bytes) -> bytes | None:
    """The JSON text of an id, where it is a string that is short enough to be said back."""
    return event_id if event_id[:1] == b'"' and len(event_id) <= _MAX_ECHO_BYTES else None


def _count(body: bytes) -> None:
    check_length(bytes(fields.members_of(body).get("events", NULL)), "events", MAX_EVENTS)


def _read_singly(
    decoder: msgspec.json.Decoder[Any], one: msgspec.json.Decoder[E], body: bytes, first: Invalid
) -> tuple[Any, list[E | Refusal], list[bytes | None]]:
    """Collects the refusals of events. Raises what is wrong with the batch itself."""
    members = fields.members_of(body)
    text = bytes(members.get("events", NULL))
    if text[:1] != b"[":
        raise first
    check_length(text, "events", MAX_EVENTS)
    whole = fields.decode(decoder, msgspec.json.encode({**members, "events": []}))
    events: list[E | Refusal] = []
    sent_ids: list[bytes | None] = []
    for index, event in enumerate(_ITEMS.decode(text)):
        sent_ids.append(_id_of(event))
        try:
            events.append(details.decode_event(one, event, f"events.{index}", ("time",)))
        except TowerlogError as error:
            events.append(fields.refusal(error))
    return whole, events, sent_ids


def _id_of(event: msgspec.Raw) -> bytes | None:
    """The id of an event that may be anything."""
    try:
        return _repeated(bytes(_NAMED.decode(event).event_id))
    except msgspec.ValidationError:
        return None


ENDPOINTS = (
    Endpoint(
        "POST", "/api/v1/events", "tell_events",
        "Store a batch of a client's events; returns pending commands of its runs.",
        scopes(Scope.INGEST), _decode_events, _encode_events, ingests=True, request=EventsBody, reply=EventsReply,
    ),
    Endpoint(
        "POST", "/api/v1/runs/{run_id}:report", "report_run",
        "Store a batch of a claimed run's events and renew its lease; returns pending commands.",
        scopes(Scope.WORKER), _decode_report, _encode_report, ingests=True, request=RunReportBody, reply=RunReportReply,
        refuses=(errors.LeaseLost, errors.RunEnded,),
    ),
)  # fmt: skip
"""The endpoints that take events."""
