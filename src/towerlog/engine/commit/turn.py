"""The placing of one group: how each of its commands is carried out, and what is known however often it is placed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec

from towerlog.engine.audit.hook import Act
from towerlog.engine.commit.replies import encode_ids
from towerlog.engine.commit.submission import Submission, name_of
from towerlog.engine.load.cache import Cache
from towerlog.engine.load.misses import NotLoaded
from towerlog.engine.load.rows import Known, Needs, NeedsSteps
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.follow_ups import finish
from towerlog.engine.plan.fresh_ids import DrawnIds
from towerlog.engine.plan.plan import Plan
from towerlog.errors import IdempotencyMismatch, Overloaded, TowerlogError
from towerlog.model.command import Append, Idempotency, Report, Write
from towerlog.model.event import Refusal
from towerlog.model.outcome import NothingToClaim, Placed, Replayed, ReplyKept, Stored, Taken
from towerlog.model.principal import Principal
from towerlog.store.base import Unit
from towerlog.store.values import Changes, Kind, StoredReply

MAX_RELOADS = 64
"""How often a group is placed anew: what is asked for then has not been loaded by anything."""

MIN_PORTION = 16
"""Items of a batch that a plan has cut off, of which the next group asks for twice as many as this one has placed: what
is loaded and not placed is loaded again, and so is no more than what is."""


Found = TypeVar("Found")


class Verb(NamedTuple):
    """How a command is carried out: what it needs, and what it changes once that is loaded."""

    needs: Callable[[Needs, Principal, Any], NeedsSteps]
    place: Callable[[Plan, Principal, Any], Placed | TowerlogError | Steps[Placed | TowerlogError]]
    act: Act | None = None
    """What the audit says of it; None for what is no act of a person: telemetry, and the work of workers."""


class ContentGone(Overloaded):
    """What this long history has in common with others is being erased; send it again."""

    # The engine has such a history stored again. A sender is told where an erasure came between again and again.


class PlanFull(Exception):
    """The plan is full after some items of a command; the others go on in a further group. Never leaves the writer."""

    def __init__(self, results: list[Stored | Refusal], *, lacks_content: bool = False) -> None:
        """What came of the items that were placed. `lacks_content`: the next one has a history that must be stored
        again before."""
        super().__init__()
        self.results = results
        self.lacks_content = lacks_content

    def rest_of(self, command: Write) -> Append | Report:
        """The command with what is left to do of it."""
        if not isinstance(command, Append | Report):
            raise TypeError(f"{type(command).__name__} has no items")
        items, placed = command.items[len(self.results) :], (*command.placed, *self.results)
        portion = max(MIN_PORTION, 2 * len(self.results))
        return msgspec.structs.replace(command, items=items, placed=placed, portion=portion)


class Turn(msgspec.Struct, eq=False):
    """The placing of one group, however often: what is known, its time, its names, and who broke."""

    known: Known
    now_ms: int
    serving_ms: int
    ids: DrawnIds
    broken: dict[Submission, TowerlogError] = {}
    rounds: int = 0

    def missed(self, missing: NotLoaded) -> list[NotLoaded]:
        """What has to be loaded, each once. Raises it when loading has not helped `MAX_RELOADS` times."""
        self.rounds += 1
        if self.rounds > MAX_RELOADS:
            raise missing
        return list({(one.kind, one.key): one for one in missing.all}.values())


def place_once(
    plan: Plan, submission: Submission, wanted: Idempotency, placing: Steps[Placed | TowerlogError]
) -> Steps[Placed | Replayed | TowerlogError]:
    """A command with an Idempotency-Key: a repeat of it is answered with the reply that was kept, and not placed."""
    org, name = submission.principal.org, name_of(wanted)
    known: StoredReply | None = plan.loaded(Kind.REPLY, (org, name))
    if known is not None:
        if known.digest != wanted.digest:
            return IdempotencyMismatch()
        for react in plan.reactions.on_repeat:
            react(plan, submission.principal, submission.command)
        return Replayed(known.status, known.body, known.run, known.lease_epoch, known.ids)
    command = submission.command
    outcome = yield from placing
    status, body = (outcome.status, outcome.body) if isinstance(outcome, ReplyKept) else (0, b"")
    still_waiting = isinstance(outcome, NothingToClaim) and getattr(command, "wait_ms", 0) > 0
    only_asks = isinstance(outcome, ReplyKept) and not status
    if not isinstance(outcome, TowerlogError) and not still_waiting and not only_asks:
        run, epoch = (outcome.row.run, outcome.lane.epoch) if isinstance(outcome, Taken) else (None, None)
        ids = encode_ids(outcome)
        plan.changes.replies.append(
            StoredReply(org, name, wanted.digest, status, body, plan.serving_ms, run, epoch, ids)
        )
    return outcome


async def held_cache(unit: Unit, cache: Cache, group: list[Submission]) -> Cache:
    """What is known of the store until the unit ends, where others write it as well: what the cache has, or nothing."""
    if not await unit.hold(frozenset([one.principal.org for one in group])):
        return Cache()
    cache.leave_open()
    return cache


def with_new_messages(changes: Changes) -> frozenset[int]:
    """Organisations with a message that nobody has attempted, or that is not written as a delivery yet: what was
    attempted before is found when it is due."""
    new = [one.org for one in changes.deliveries.values() if one.due_at is not None and not one.tries]
    return frozenset(new + [one.org for one in changes.delivery_bodies.values() if one.unwritten])


def place_whole(found: Found, place: Callable[[Plan, Found], Steps[None]], _turn: Turn, plan: Plan) -> Steps[bool]:
    """Places something of the engine's own, with what follows from it."""
    yield from place(plan, found)
    yield from finish(plan)
    return True
