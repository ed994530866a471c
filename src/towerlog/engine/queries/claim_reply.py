"""What a worker is handed with a run: its input, persona and route, and the state to go on from.

A claim may be planned in the same group as what it has to show, so everything is looked for in the plan first and then
in the store.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.commands import personas
from towerlog.engine.commit.plan import Plan
from towerlog.engine.queries.views import history_metas
from towerlog.model.checkpoint import CheckpointRow, CheckpointView
from towerlog.model.event import Event
from towerlog.model.lane import Lane
from towerlog.model.outcome import Claimed, RunView
from towerlog.model.run import RunRow
from towerlog.store.base import Store


class Asked(msgspec.Struct, frozen=True):
    """What the first event of a run that was made for workers says of it."""

    input: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    labels: dict[str, str] = {}

    def input_text(self) -> bytes | None:
        """JSON text of the input, None without one."""
        return _given(self.input)

    def metadata_text(self) -> bytes | None:
        """JSON text of the metadata, None without any."""
        return _given(self.metadata)


_decode_asked = msgspec.json.Decoder(Asked).decode


def _given(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == b"null" else text


class _Told(msgspec.Struct, frozen=True):
    input: msgspec.Raw = msgspec.Raw(b"null")


_decode_told = msgspec.json.Decoder(_Told).decode


def told_by(start: Event) -> Asked:
    """What a reported start says of its run's input. Whatever else its sender put there is the sender's own."""
    return Asked(input=_decode_told(start.data).input)


def asked_of(first: Event | None) -> Asked | None:
    """What a run's first event asked for; None where that is not there any more."""
    return None if first is None else _decode_asked(first.data)


async def claimed(plan: Plan, store: Store, view: RunView, lane: Lane) -> Claimed:
    """A claim with all that its worker needs."""
    row = view.row
    asked = asked_of(await event_at(plan, store, row, 1))
    latest = await _latest_checkpoint(plan, store, row)
    state = None if latest is None or latest.initial else await _state(plan, store, row, latest)
    persona = None if row.persona_id is None else await personas.persona_of(plan, row.org, row.persona_id)
    route = None if row.route_id is None else await personas.route_of(plan, row.org, row.route_id)
    return Claimed(view, lane, None if asked is None else asked.input_text(), state, persona, route)


async def event_at(plan: Plan, store: Store, row: RunRow, seq: int) -> Event | None:
    """An event of a run, committed or about to be."""
    for event in plan.changes.events:
        if event.run == row.run and event.seq == seq:
            return event
    return (await store.events_at(row.org, row.run, [seq])).get(seq)


async def _latest_checkpoint(plan: Plan, store: Store, row: RunRow) -> CheckpointRow | None:
    stored = await store.checkpoint_latest_of_run(row.org, row.run)
    found = [made for (run, *_), made in plan.changes.checkpoints.items() if run == row.run]
    if stored is not None and (stored.run, stored.agent, stored.step_index) not in plan.changes.checkpoints:
        found.append(stored)
    return max(found, key=lambda one: (not one.initial, one.step_index, one.position), default=None)


async def _state(plan: Plan, store: Store, run: RunRow, row: CheckpointRow) -> CheckpointView:
    event = await event_at(plan, store, run, row.seq)
    figures = b"{}" if event is None or row.initial else event.data
    messages = await _messages(plan, store, row)
    metas = await _metas(plan, store, row) if row.has_meta else None
    return CheckpointView(row, run.run_id, run.trace_id, figures, messages, metas)


async def _messages(plan: Plan, store: Store, row: CheckpointRow) -> list[bytes]:
    """A history, its newest part perhaps not committed yet."""
    nodes = {node.key: node for node in plan.changes.nodes if node.org == row.org}
    bodies = {message.key: message.body for message in plan.changes.messages if message.org == row.org}
    key, newest = bytes.fromhex(row.node), list[bytes]()
    while key in nodes:
        newest.append(bodies[nodes[key].message])
        key = nodes[key].parent
    older = await store.history(row.org, key, row.length - len(newest)) if key else []
    return [*older, *reversed(newest)]


async def _metas(plan: Plan, store: Store, row: CheckpointRow) -> list[bytes]:
    lists = {made.key: made for made in plan.changes.metas if made.org == row.org}
    key, newest = bytes.fromhex(row.metas), list[bytes]()
    while key in lists:
        newest.append(lists[key].body)
        key = lists[key].parent
    older = await store.metas(row.org, key) if key else []
    return history_metas([*older, *reversed(newest)])
