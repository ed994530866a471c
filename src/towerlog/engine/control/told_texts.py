"""The texts of commands as their agent is told them: a long one stands in the event that made its command alone.

They are read for the reply that tells them, and never get into a row.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Damaged
from towerlog.model.event import DamagedEvent, Event, Logged
from towerlog.model.pending import Pending
from towerlog.model.run import RunRow
from towerlog.store.base import Store
from towerlog.store.values import Kind

BYTES_OF_LOOK_UP = 4 * 1024
"""So many bytes of texts count as one id that is looked up (`MAX_LOOKED_UP`): a group reads 64 MiB of texts, or those
of one command."""
_replace = msgspec.structs.replace


class _Written(msgspec.Struct, frozen=True):
    content: str


_decode = msgspec.json.Decoder(_Written).decode


def needs_of_texts(needs: Needs, row: RunRow) -> None:
    """The events with the long texts that wait for a run's agent."""
    for one in row.pending:
        if one.is_beside() and not needs.known.has(Kind.EVENT, (row.run, one.command_id)):
            needs.want(Kind.EVENT, (row.run, one.command_id))
            needs.looked_up += one.size() // BYTES_OF_LOOK_UP


def with_texts(plan: Plan, row: RunRow) -> RunRow:
    """Copy of the row with long command texts filled in; never stored. Raises NotLoaded."""
    if not any(one.is_beside() for one in row.pending):
        return row
    return _replace(row, pending=tuple([_told(one, _event_of(plan, row, one)) for one in row.pending]))


def _event_of(plan: Plan, row: RunRow, one: Pending) -> Event | None:
    if not one.is_beside():
        return None
    try:
        return plan.event_at(row.run, one.command_id)
    except Damaged:
        return None


async def stored_texts(store: Store, row: RunRow, pending: Iterable[Pending]) -> tuple[Pending, ...]:
    """Commands of a run with their long texts, for a reply that is made again."""
    told = tuple(pending)
    seqs = [one.command_id for one in told if one.is_beside()]
    if not seqs:
        return told
    found: dict[int, Logged] = await store.events_at(row.org, row.run, seqs)
    sound = {seq: event for seq, event in found.items() if not isinstance(event, DamagedEvent)}
    return tuple([_told(one, sound.get(one.command_id)) for one in told])


def _told(one: Pending, event: Event | None) -> Pending:
    """A command with its text. Where that cannot be read any more the agent is told so, and which event it was: it must
    neither take an empty text for an answer nor wait for one that does not come."""
    if not one.is_beside():
        return one
    text = f"(What was written here cannot be read any more: event {one.command_id} of the run.)"
    if event is not None and event.facts.erased is None:
        text = _decode(event.data).content
    return _replace(one, content=text, text_bytes=0)
