"""Requests of the `lanes` dialect: the bodies, and the commands that they become.

A refusal names every wrong field at once: each field of a refused body is checked on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from towerlog import errors
from towerlog.dialects import details
from towerlog.dialects.asked.agents import agent_asked
from towerlog.dialects.base import Call, DialectSettings
from towerlog.dialects.fields import (
    EMPTY_OBJECT,
    NULL,
    Warnings,
    decode,
    decode_body,
    invalid,
    invalid_field,
    members_of,
    object_text,
    one_line,
    optional_id,
    page_limit,
    path_uuid,
    read,
    refusal,
    text_id,
)
from towerlog.dialects.lanes.bodies import (
    MAX_EVENTS,
    ClaimBody,
    ClaimRunBody,
    CompleteBody,
    FailBody,
    HolderBody,
    ReportBody,
)
from towerlog.dialects.members import fields_of
from towerlog.dialects.run_events import FAILED, WorkerEvent, lease_ms_of, reason, worker_draft
from towerlog.dialects.structure import check_length
from towerlog.errors import Invalid
from towerlog.model.command import Claim, ClaimRun, Finish, Release, Report
from towerlog.model.event import Draft, EventType, Item, Refusal, RunById
from towerlog.model.facts import Facts
from towerlog.model.lane import DEFAULT_LEASE_SECONDS
from towerlog.model.question import ListLanes, ListWorkers
from towerlog.model.run import Status

STATUS_OF: dict[str, Status] = {
    "queued": Status.QUEUED,
    "claimed": Status.RUNNING,
    "running": Status.RUNNING,
    "paused": Status.PAUSED,
    "shipping": Status.RUNNING,
    "shipped": Status.COMPLETED,
    "failed": Status.FAILED,
    "released": Status.CANCELLED,
}
"""Every state of a lane, and the status of the run that it means."""
_ALSO: dict[str, tuple[Status, ...]] = {
    "running": (Status.CANCELLING,),
    "paused": (Status.WAITING,),
    "failed": (Status.BUDGET_EXCEEDED, Status.LOST),
}
"""Further statuses that have the same word."""

_COUNTED_ABOVE_BYTES = 1 << 20
_BESIDE_BYTES = 1024
"""Bytes that a body may have beside the event that it becomes."""

B = TypeVar("B", bound=msgspec.Struct)

NAME = "lanes"


class _KnownReport(ReportBody, gc=False):
    """A report whose events all fit, which is what reports are like."""

    events: list[WorkerEvent] | None = None  # type: ignore[assignment]  # the same field, read in the same pass


class _Told(msgspec.Struct, gc=False):
    phase: msgspec.Raw = NULL
    log_line: msgspec.Raw = NULL


_REPORT = msgspec.json.Decoder(ReportBody)
_KNOWN_REPORT = msgspec.json.Decoder(_KnownReport)
_CLAIM = msgspec.json.Decoder(ClaimBody)
_CLAIM_RUN = msgspec.json.Decoder(ClaimRunBody)
_HOLDER = msgspec.json.Decoder(HolderBody)
_COMPLETE = msgspec.json.Decoder(CompleteBody)
_FAIL = msgspec.json.Decoder(FailBody)
_EVENTS = msgspec.json.Decoder(list[WorkerEvent])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_WORKER_EVENT = msgspec.json.Decoder(WorkerEvent)
_TOLD = msgspec.json.Decoder(_Told)
_OF_HOLDER = frozenset(HolderBody.__struct_fields__)
_DETAILS = ("phase", "log_line")
_ENVELOPE = frozenset(ReportBody.__struct_fields__) - set(_DETAILS)
"""What a report is checked for as a whole."""


def decode_report(call: Call) -> Report:
    """A report. A wrong event is refused alone; a phase or log line that cannot be used is kept as an event."""
    run_id = path_uuid(call.path["id"], "run")
    warnings: Warnings = []
    body = _report(call.body, warnings)
    run = RunById(run_id)
    unused = _unused(call.body, run, warnings) if warnings else []
    items = _items(body.events, run, call.settings, warnings)
    return Report(
        run_id=run_id,
        worker_id=_worker_of(body),
        items=items + unused,
        lease_ms=lease_ms_of(body.lease_seconds, None, call.settings),
        lease_epoch=_epoch(body.lease_epoch, call),
        phase=body.phase or None,
        log_line=body.log_line or None,
        # The body stays in memory for as long as the reply is held back.
        wait_ms=1000 * (body.wait_seconds or 0),
        dialect=NAME,
        data_field="payload",
        warnings=tuple(warnings),
    )


def decode_claim(call: Call) -> Claim:
    """Claims the oldest queued run that matches."""
    body = _read(_CLAIM, call.body)
    if body.agents == []:
        raise invalid_field("agents", "must name at least one agent; left out, it means any")
    return Claim(
        worker_id=_worker_of(body),
        lease_ms=_claimed_ms(body.lease_seconds, call.settings),
        agents=None if body.agents is None else tuple(agent_asked(one, "agents") or "" for one in body.agents),
        labels=body.labels or {},
        wait_ms=1000 * (body.wait_seconds or 0),
    )


def decode_claim_run(call: Call) -> ClaimRun:
    """Claims this run."""
    run_id, body = path_uuid(call.path["id"], "run"), _read(_CLAIM_RUN, call.body)
    return ClaimRun(run_id, _worker_of(body), _claimed_ms(body.lease_seconds, call.settings))


def decode_release(call: Call) -> Release:
    """Puts a run back into the queue."""
    run_id, body = path_uuid(call.path["id"], "run"), _read(_HOLDER, call.body)
    return Release(run_id, _worker_of(body), _epoch(body.lease_epoch, call))


def decode_complete(call: Call) -> Finish:
    """Completes a run with its result."""
    run_id, body = path_uuid(call.path["id"], "run"), _read(_COMPLETE, call.body)
    data = _ending("result", body.result, call)
    draft = Draft(EventType.RUN_COMPLETED, RunById(run_id), data, Facts(success=True))
    return Finish(run_id, _worker_of(body), draft, _epoch(body.lease_epoch, call), NAME)


def decode_fail(call: Call) -> Finish:
    """Fails a run with its reason."""
    run_id, body = path_uuid(call.path["id"], "run"), _read(_FAIL, call.body)
    warnings: Warnings = []
    facts = Facts(error=reason(body.error, "error", warnings) or FAILED, success=False)
    draft = Draft(EventType.RUN_FAILED, RunById(run_id), _ending("error", body.error, call), facts)
    worker_id, epoch = _worker_of(body), _epoch(body.lease_epoch, call)
    return Finish(run_id, worker_id, draft, epoch, NAME, tuple(warnings))


def decode_lanes(call: Call) -> ListLanes:
    """Lanes by state."""
    state = call.query.get("state") or None
    if state is not None and state not in STATUS_OF:
        raise invalid_field("state", "must be one of " + ", ".join(STATUS_OF))
    return ListLanes(page_limit(call), None if state is None else (STATUS_OF[state], *_ALSO.get(state, ())))


def _worker_of(body: HolderBody | ClaimBody | ClaimRunBody | ReportBody | CompleteBody | FailBody) -> str:
    return text_id(body.worker_id, "worker_id", in_urls=False)


def decode_workers(call: Call) -> ListWorkers:
    """Workers with the runs that they hold."""
    return ListWorkers(page_limit(call), optional_id(call.query.get("worker_id"), "worker_id", in_urls=False))


def _report(body: bytes, warnings: Warnings) -> ReportBody:
    """A report with its events in one pass; a large one, and one in which something does not fit, step by step."""
    if len(body) <= _COUNTED_ABOVE_BYTES:
        try:
            return _KNOWN_REPORT.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
    try:
        return read(_REPORT, body, "", warnings, _ENVELOPE)
    except Invalid as first:
        raise _all_wrong(ReportBody, body, first, _DETAILS) from None


def _unused(body: bytes, run: RunById, warnings: Warnings) -> list[Item]:
    """An event with the phase and the log line that could not be used, as they were sent."""
    told = _TOLD.decode(body)
    data = EMPTY_OBJECT
    for name in [warning.field for warning in warnings]:
        data = details.kept(data, name, getattr(told, name), warnings)
    return [Draft(EventType.LANE_REPORT, run, data)]


def _items(
    events: msgspec.Raw | list[WorkerEvent] | None, run: RunById, settings: DialectSettings, warnings: Warnings
) -> list[Item]:
    told = _told(events) if isinstance(events, msgspec.Raw) else events or []
    if len(told) > MAX_EVENTS:
        raise invalid_field("events", f"has more than {MAX_EVENTS} items")

    def item(event: WorkerEvent, index: int, found: Warnings) -> Item:
        return worker_draft(event, index, run, settings, found)

    return details.items_of(told, item, warnings)


def _told(events: msgspec.Raw) -> Sequence[WorkerEvent | Refusal]:
    """The events, those that cannot be read as refusals. Raises Invalid unless each is an object with a type."""
    text = bytes(events)
    if text == b"null":
        return []
    # Counting takes longer than decoding, so only a large text is counted first.
    if len(text) > _COUNTED_ABOVE_BYTES:
        check_length(text, "events", MAX_EVENTS)
    try:
        return _EVENTS.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found: list[msgspec.Raw] = decode(_LIST, text, "events")
        return [_event(event, index) for index, event in enumerate(found)]


def _event(text: msgspec.Raw, index: int) -> WorkerEvent | Refusal:
    place = f"events.{index}"
    try:
        return decode(_WORKER_EVENT, text, place)
    except Invalid as error:
        if error.field in (place, f"{place}.type"):
            raise
        return refusal(error)


def _claimed_ms(lease_seconds: int | None, settings: DialectSettings) -> int:
    default = 1000 * DEFAULT_LEASE_SECONDS
    return lease_ms_of(lease_seconds, default, settings) or default


def _epoch(given: int | None, call: Call) -> int | None:
    """The lease epoch from the body, else from the header."""
    if given is not None:
        return given
    text = call.headers.get(b"x-lease-epoch", b"")
    if not text:
        return None
    # Bytes: `isdigit` is true for ASCII digits only.
    if not text.isdigit() or len(text) > 15:
        raise invalid_field("x-lease-epoch", "must be an integer, 0 or more")
    return int(text)


def _ending(name: str, raw: msgspec.Raw, call: Call) -> bytes:
    """`{"result": …}`: a result may be any JSON, but the data of an event is an object. Unknown members are kept."""
    # Of a body that is too large for an event, no member is taken out.
    text = object_text(call.body.strip(), name, call.settings.max_event_bytes + _BESIDE_BYTES)
    members = {key: member for key, member in members_of(text).items() if key not in _OF_HOLDER}
    data = msgspec.json.encode({**members, name: raw})
    return one_line(data, name, call.settings.max_depth, call.settings.max_event_bytes)


# Everything that is wrong


def _read(decoder: msgspec.json.Decoder[B], body: bytes) -> B:
    """The decoded body. Raises Invalid naming every wrong field."""
    try:
        return decode_body(decoder, body)
    except Invalid as first:
        raise _all_wrong(decoder.type, body, first) from None


def _all_wrong(type_: type[msgspec.Struct], body: bytes, first: Invalid, lenient: tuple[str, ...] = ()) -> Invalid:
    try:
        members = members_of(body)
    except errors.TowerlogError:
        return first
    # msgspec stops at the first wrong field, so each is decoded again on its own.
    details: dict[str, str] = {}
    for field in fields_of(type_):
        if field.encode_name in lenient:
            continue
        if field.encode_name in members:
            details |= _wrong(field, members[field.encode_name])
        elif field.required:
            details[field.encode_name] = "is required"
    return Invalid(first.message, field=first.field, details=first.details | details)


def _wrong(field: msgspec.structs.FieldInfo, value: msgspec.Raw) -> dict[str, str]:
    try:
        msgspec.json.decode(value, type=field.type)
    except msgspec.ValidationError as error:
        return invalid(str(error), field.encode_name).details
    return {}
