"""Rows of a database to values and back, for every backend. No SQL statements beyond column lists, no I/O."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from towerlog.errors import cause
from towerlog.model.agent import AgentRow
from towerlog.model.chain import fits
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.event import DamagedEvent, Event, EventType, Logged
from towerlog.model.facts import NO_FACTS, Facts
from towerlog.model.feed import FEED_TYPES_ALWAYS, FEED_TYPES_SOMETIMES, has_feed_place
from towerlog.model.key import Key
from towerlog.model.lane import Lane
from towerlog.model.persona import Persona, ProviderRoute
from towerlog.model.principal import SHARD_BITS, Org, Scope
from towerlog.model.run import RunRow
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import NO_USAGE, Usage, UsageRow
from towerlog.store.columns.retention import held_columns, holds_other
from towerlog.store.compression import Packer, PackingError
from towerlog.store.values import PAGE_BODY_BYTES, Found, Quarantined, RunChange, Spread

Row = tuple[Any, ...]
T = TypeVar("T")

PACK_EVENTS_ABOVE = 2048
PACK_MESSAGES_ABOVE = 512
"""Bodies longer than this many bytes are compressed (zstd)."""

LABEL_DIGITS = 12

LATE, FUTURE, PACKED = 1, 2, 4
UNDECODABLE = (
    msgspec.MsgspecError, PackingError, ValueError, TypeError, KeyError, AttributeError, struct.error,
)  # fmt: skip
"""What a row that was changed raises when it is decoded."""

EVENT_COLUMNS = (
    "key, run, seq, type, recorded_at, occurred_at, dialect, event_id, agent, feed, flags, hash, facts, data, content"
)
CHECKED_COLUMNS = (
    f"{EVENT_COLUMNS}, coalesce((SELECT before.hash FROM event AS before WHERE before.run = event.run"
    " AND before.seq = event.seq - 1), (SELECT trim.hash FROM trim WHERE trim.run = event.run"
    " AND trim.seq = event.seq - 1))"
)
"""An event, and what its own hash covers beside it: the hash before it in its run, which a trim leaves."""
KEY_COLUMNS = "org, key_id, user_id, name, scopes, digest, hint, created_at, revoked_at"
RUN_COLUMNS = (
    "run, org, run_id, thread_id, trace_id, foreign_id, agent, status, model, persona_id, parent_key, began_at,"
    " cancel_requested_at, quiet, seen_at, ended_at, ended_position, held, doc"
)
LANE_COLUMNS = "run, org, state, agent, label_set, queue_position, queued_at, expires_at, doc"
REPLY_COLUMNS = "org, name, digest, status, body, created_at, run, lease_epoch, ids"
USAGE_FIGURES = Usage.__struct_fields__

_encode = msgspec.json.Encoder().encode
_TYPES = {member.value: member for member in EventType}
_ORG_MASK = (1 << 40) - 1

decode_run = msgspec.json.Decoder(RunRow).decode
decode_thread = msgspec.json.Decoder(ThreadRow).decode
decode_agent = msgspec.json.Decoder(AgentRow).decode
decode_lane = msgspec.json.Decoder(Lane).decode
decode_checkpoint = msgspec.json.Decoder(CheckpointRow).decode
decode_persona = msgspec.json.Decoder(Persona).decode
decode_route = msgspec.json.Decoder(ProviderRoute).decode
decode_spread = msgspec.json.Decoder(Spread).decode
decode_quarantined = msgspec.json.Decoder(Quarantined).decode
_decode_facts = msgspec.json.Decoder(Facts).decode


def up_to_a_page(found: Iterable[Row], value: Callable[[Row], T]) -> Found[T]:
    """The values of rows that end in their doc, until the docs fill a page; at least one where there is one."""
    page: Found[T] = Found()
    size = 0
    for row in found:
        page.append(value(row))
        size += len(row[-1])
        if size >= PAGE_BODY_BYTES:
            page.cut = True
            break
    return page


def event_row(event: Event, packer: Packer) -> Row:
    """Values for EVENT_COLUMNS."""
    data, flags, kind = event.data, LATE * event.late | FUTURE * event.future, event.type
    if len(data) > PACK_EVENTS_ABOVE:
        data, flags = packer.pack(data), flags | PACKED
    is_shown = kind in FEED_TYPES_ALWAYS or (kind in FEED_TYPES_SOMETIMES and has_feed_place(event))
    return (
        event.org << SHARD_BITS | event.position,
        event.run,
        event.seq,
        kind,
        event.recorded_at,
        event.occurred_at,
        event.dialect,
        event.event_id,
        event.agent,
        event.agent if event.agent and is_shown else None,
        flags,
        event.hash,
        event.facts_json or None,
        data,
        event.content or None,
    )


def event_value(row: Sequence[Any]) -> Event:
    """An event from EVENT_COLUMNS, unchecked."""
    key, run, seq, kind, recorded_at, occurred_at, dialect, event_id, agent, _, flags, digest, facts, data, content = (
        row
    )
    # By place: by name, so many fields take twice as long as all the rest, and a page has hundreds of events.
    return Event(
        key >> SHARD_BITS,
        key & _ORG_MASK,
        run,
        seq,
        _TYPES[kind],
        recorded_at,
        Packer().unpack(data) if flags & PACKED else data,
        _decode_facts(facts) if facts else NO_FACTS,
        facts or b"",
        dialect,
        occurred_at,
        event_id,
        agent,
        flags & LATE != 0,
        flags & FUTURE != 0,
        digest,
        content or b"",
    )


def found_event(row: Row) -> Logged:
    """An event from CHECKED_COLUMNS, if it is what was written. One that cannot be checked is none."""
    key, run, seq = row[:3]
    before = row[-1]
    try:
        event = event_value(row[:-1])
        if before is None and seq > 1:
            reason = "the event before it is not there, so that it cannot be checked"
        elif fits(before or b"", event):
            return event
        else:
            reason = "its hash does not fit"
    except UNDECODABLE as error:
        reason = f"cannot be read: {cause(error)}"
    return damaged_event(key, run, seq, reason)


def damaged_event(key: int, run: int, seq: int, reason: str) -> DamagedEvent:
    """What stands for an event that is not what was written."""
    return DamagedEvent(key >> SHARD_BITS, key & _ORG_MASK, run, seq, seq, reason)


def run_indexed(row: RunRow) -> Row:
    """The part of a run that stands in columns of its own, because something looks it up."""
    return (
        row.run,
        row.org,
        row.run_id,
        row.thread_id,
        row.trace_id,
        row.foreign_id,
        row.agent,
        row.status,
        row.model,
        row.persona_id,
        row.parent_key,
        row.began_at(),
        row.cancel_requested_at,
        int(not row.silence_matters()),
        row.seen_at if row.is_silence_timed() else None,
        *held_columns(row),
    )


def run_rows(changed: Iterable[RunChange]) -> tuple[list[Row], list[Row], list[Row]]:
    """New runs and those of which an indexed column has moved: RUN_COLUMNS; all others: (run, doc)."""
    new: list[Row] = []
    moved: list[Row] = []
    touched: list[Row] = []
    for change in changed:
        after = change.after
        if change.before is None:
            new.append((*run_indexed(after), _encode(after)))
        elif _indexed_fields(change.before) == _indexed_fields(after) and not (
            after.ended_at is not None and holds_other(change)
        ):
            # Most events move no indexed column: leave the indexes alone.
            touched.append((after.run, _encode(after)))
        else:
            moved.append((*run_indexed(after), _encode(after)))
    return new, moved, touched


_indexed_fields = attrgetter(
    "foreign_id",
    "agent",
    "status",
    "model",
    "persona_id",
    "parent_key",
    "cancel_requested_at",
    "start_told_at",
    # What the columns `quiet` and `seen_at` are made of.
    "seen_at",
    "silent_at",
    "lease_epoch",
    "idle",
    "implicit",
    "sends_heartbeats",
    # And `ended_at`, `ended_position` and `held`.
    "ended_at",
    "deltas_erased_at",
    "checkpoints_erased_at",
    "erased_seq",
)


def thread_row(row: ThreadRow) -> Row:
    """(org, thread_id, created_at, doc)."""
    return (row.org, row.thread_id, row.created_at, _encode(row))


def agent_row(row: AgentRow) -> Row:
    """(agent, org, agent_id, name, doc)."""
    return (row.agent, row.org, row.agent_id, row.name, _encode(row))


def lane_row(lane: Lane) -> Row:
    """Values for LANE_COLUMNS."""
    return (
        lane.run,
        lane.org,
        lane.state,
        lane.agent,
        label_set(lane.labels),
        lane.queue_position,
        lane.queued_at,
        lane.expires_at,
        _encode(lane),
    )


def lane_rows(lanes: Iterable[Lane], renewed: Collection[int]) -> tuple[list[Row], list[Row]]:
    """Of those whose run is among `renewed`: (run, expires_at, doc); of the others: LANE_COLUMNS."""
    touched: list[Row] = []
    moved: list[Row] = []
    for lane in lanes:
        if lane.run in renewed:
            touched.append((lane.run, lane.expires_at, _encode(lane)))
        else:
            moved.append(lane_row(lane))
    return touched, moved


def label_set(labels: Mapping[str, str]) -> str:
    """A name of a set of labels: the digests of all its labels, in their order; '' for none."""
    return "".join(label_digests(labels))


def label_digests(labels: Mapping[str, str]) -> list[str]:
    """A name of each label, LABEL_DIGITS characters long, in order."""
    return sorted(hashlib.sha256(_encode(pair)).hexdigest()[:LABEL_DIGITS] for pair in labels.items())


def persona_row(persona: Persona) -> Row:
    """(org, persona_key, version, doc)."""
    return (persona.org, persona.persona_key, persona.version, _encode(persona))


def route_row(route: ProviderRoute) -> Row:
    """(org, route_id, version, doc)."""
    return (route.org, route.route_id, route.version, _encode(route))


def persona_value(row: Row) -> Persona:
    """A persona from (number, doc)."""
    return msgspec.structs.replace(decode_persona(row[1]), number=row[0])


def route_value(row: Row) -> ProviderRoute:
    """A route from (number, doc)."""
    return msgspec.structs.replace(decode_route(row[1]), number=row[0])


def checkpoint_row(row: CheckpointRow) -> Row:
    """(run, agent, step_index, org, thread_id, status, initial, position, node, metas, held_node, held_metas, doc)."""
    held = row.held
    return (
        row.run,
        row.agent,
        row.step_index,
        row.org,
        row.thread_id,
        row.status,
        int(row.initial),
        row.position,
        _key(row.node),
        _key(row.metas),
        None if held is None else _key(held.node),
        None if held is None else _key(held.metas),
        _encode(row),
    )


def _key(text: str) -> bytes | None:
    """A key of the content store from its hex form; None for none."""
    return bytes.fromhex(text) or None


def spread_row(spread: Spread) -> Row:
    """(run, org, doc)."""
    return (spread.run, spread.org, _encode(spread))


def quarantine_row(item: Quarantined) -> Row:
    """(run, name, key_id, doc): the name is the same for what is sent again."""
    sent = (item.worker_id, item.lease_epoch, item.type, item.name, item.event_id)
    name = hashlib.sha256(_encode(sent) + item.data).digest()[:16]
    return (item.run, name, item.key_id, _encode(item))


def usage_rows(cells: Iterable[UsageRow]) -> tuple[list[Row], list[Row]]:
    """Key and events of the cells that count nothing else; key, counts and figures of the others.

    Nearly all cells only count events, and adding up the unknown figures takes as long as all the rest of it.
    """
    counts: list[Row] = []
    whole: list[Row] = []
    for cell in cells:
        is_bare = cell.usage == NO_USAGE and cell.price_version is None
        if is_bare and not cell.runs_started and not cell.runs_ended:
            counts.append((cell.org, cell.hour, cell.agent, cell.model, cell.status, cell.events))
        else:
            whole.append(usage_row(cell))
    return counts, whole


def usage_row(row: UsageRow) -> Row:
    """Key, counts and figures, in the table's order."""
    return (
        row.org,
        row.hour,
        row.agent,
        row.model,
        row.status,
        row.events,
        row.runs_started,
        row.runs_ended,
        *msgspec.structs.astuple(row.usage),
        row.price_version,
    )


def usage_value(row: Row) -> UsageRow:
    """A roll-up cell from its row."""
    org, hour, agent, model, status, events, runs_started, runs_ended = row[:8]
    usage, version = Usage(*row[8:-1]), row[-1]
    return UsageRow(org, hour, agent, model, status, events, runs_started, runs_ended, usage, version)


def key_row(key: Key) -> Row:
    """Values for KEY_COLUMNS."""
    return (
        key.org,
        key.key_id,
        key.user_id,
        key.name,
        ",".join(key.scopes),
        key.digest,
        key.hint,
        key.created_at,
        key.revoked_at,
    )


def key_value(row: Row) -> Key:
    """A key from KEY_COLUMNS."""
    org, key_id, user_id, name, scopes, digest, hint, created_at, revoked_at = row
    parsed = tuple(Scope(word) for word in scopes.split(",") if word)
    return Key(org, key_id, user_id, name, parsed, digest, hint, created_at, revoked_at)


def org_value(row: Row) -> Org:
    """An organisation from (org, org_id, name, created_at)."""
    return Org(*row)
