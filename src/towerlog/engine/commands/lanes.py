"""Leases: claim, renew, release, finish, expire. One holder (key, worker, epoch) at a time; the loser gets an error.

Expiry alone ends nothing: a run that ran out is claimable at once, and a report that comes before anybody claimed it
(or the sweep took it) renews it still. Each claim raises the epoch, which fences whoever held it before.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.control.cancel import force_cancelled, run_of
from towerlog.engine.control.holders import lane_view
from towerlog.engine.control.receipts import mark_delivered, told_of
from towerlog.engine.control.rights import is_revoked
from towerlog.engine.control.told_texts import needs_of_texts, with_texts
from towerlog.engine.ingest.append import place_items
from towerlog.engine.ingest.content import body_as_sent, came_too_early
from towerlog.engine.ingest.dedupe import same_end
from towerlog.engine.ingest.needs import needs_of_draft, needs_of_items
from towerlog.engine.load.rows import Needs, NeedsSteps
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.errors import AlreadyClaimed, LeaseLost, Overloaded, RunEnded, TowerlogError
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.command import Claim, ClaimRun, Finish, Release, Report
from towerlog.model.event import TARGET_STATUS, Draft, EventType, Item, Refusal, RunById
from towerlog.model.facts import Effects, Facts, LaneFacts
from towerlog.model.lane import MAX_ATTEMPTS, MAX_SERVED_BYTES, Lane, QueueState, Served
from towerlog.model.outcome import NothingToClaim, Reported, Stored, Taken, has_warnings
from towerlog.model.principal import Principal
from towerlog.model.run import TERMINAL, RunRow, Status
from towerlog.model.times import format_ms, spoken_ms
from towerlog.store.values import Kind, Quarantined

LANES = "lanes"
"""What the events of the queue are written under."""
_replace = msgspec.structs.replace


def needs_of_claim(needs: Needs, principal: Principal, command: Claim) -> Steps[None]:
    """As many free lanes as this group may take, each with its run."""
    needs.counters(principal.org)
    for lane, row in needs.claims(principal.org, command.agents, command.labels):
        _needs_of_taking(needs, lane, row)
        yield


def _needs_of_taking(needs: Needs, lane: Lane, row: RunRow) -> None:
    if lane.state is QueueState.HELD:  # it ran out: the run may have to end
        needs.moves(row)
    needs.notes(row)
    needs_of_texts(needs, row)


def claim(plan: Plan, principal: Principal, command: Claim) -> Taken | NothingToClaim:
    """The oldest matching run whose lane is free, now held by this worker."""
    # What this group has changed is not stored yet: the store offers it again.
    claimant = plan.known.claimant(principal.org, command.agents, command.labels)
    offered = plan.loaded(Kind.CLAIMS, claimant) or []
    for stored, _ in offered:
        lane = plan.lane(stored.run) or stored
        if stored.run in plan.changes.lanes and not _is_free(plan, lane):
            continue
        held = _take(plan, principal, lane, command)
        if held is not None:
            return _told(plan, held)
    if len(offered) == claimant.limit:
        plan.known.want_more(claimant)
    return NothingToClaim()


def _told(plan: Plan, taken: Taken) -> Taken:
    """What is wanted of the run goes out with the reply, and counts as delivered."""
    return Taken(told_of(plan, taken.row, LANES), taken.lane)


def _is_free(plan: Plan, lane: Lane) -> bool:
    return lane.state is QueueState.QUEUED or (lane.state is QueueState.HELD and not lane.is_held(plan.serving_ms))


def needs_of_lane(needs: Needs, principal: Principal, command: ClaimRun | Release) -> None:
    """The run and its lane, and what its end moves if it has to end instead."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is None:
        return
    needs.moves(row)
    needs_of_texts(needs, row)
    lane = needs.lane(row.run) if row.has_lane else None
    if lane is not None and lane.key_id not in (None, principal.key_id):
        needs.want(Kind.KEY, (principal.org, lane.key_id))


def claim_run(plan: Plan, principal: Principal, command: ClaimRun) -> Taken:
    """This run. Raises AlreadyClaimed naming the deadline, RunEnded.

    The holder claiming again gets a new epoch: it may be a second process of the same name, and of two only one may go
    on. Which attempt it is stays as it was. So does a worker whose key was revoked and replaced by another one.
    """
    row = run_of(plan, principal, command.run_id)
    if row.is_terminal():
        raise _ended(row)
    lane = plan.lane(row.run) if row.has_lane else None
    if lane is None or lane.state in (QueueState.DONE, QueueState.BLOCKED):
        raise AlreadyClaimed("The run is not in the queue.")
    if lane.is_held(plan.serving_ms):
        if lane.worker_id == command.worker_id and _has_key(plan, principal, lane):
            renewed = _renewed(plan, lane, command.lease_ms, reported=False)
            again = _replace(renewed, epoch=lane.epoch + 1, key_id=principal.key_id)
            return _told(plan, _claimed(plan, again, row))
        until = lane.on_wall(plan.wall_of).expires_at or 0
        raise AlreadyClaimed(
            f"The run is held until {spoken_ms(until)}.", details={"lease_expires_at": format_ms(until)}
        )
    held = _take(plan, principal, lane, command)
    if held is None:
        raise RunEnded("The run was lost: it had no attempt left.")
    return _told(plan, held)


def _has_key(plan: Plan, principal: Principal, lane: Lane) -> bool:
    """Whether a caller has the key of a lease, or its user has revoked that key."""
    return lane.key_id == principal.key_id or is_revoked(plan, principal, lane.key_id)


def _take(plan: Plan, principal: Principal, lane: Lane, command: Claim | ClaimRun) -> Taken | None:
    """Gives a free lane to a worker; None when the run had to end instead."""
    row = plan.run_by_number(lane.run)
    if row is None:
        return None
    if lane.state is QueueState.HELD:
        lane, row = expire(plan, lane, row)
        if lane.state is not QueueState.QUEUED:
            return None
    lane = _replace(
        lane,
        state=QueueState.HELD,
        worker_id=command.worker_id,
        key_id=principal.key_id,
        released_by=None,
        epoch=lane.epoch + 1,
        attempt=lane.attempt + 1,
        lease_ms=command.lease_ms,
        claimed_at=plan.serving_ms,
        expires_at=plan.serving_ms + command.lease_ms,
        last_heartbeat=plan.serving_ms,
        reported=False,
        phase=None,
        log_line=None,
        serves=_served(command),
    )
    taken = _claimed(plan, lane, row)
    row = plan.note(
        taken.row,
        EventType.RUN_STARTED,
        {"attempt": lane.attempt},
        Facts(effects=Effects(is_start=True, claims=True)),
        by=LANES,
    )
    return Taken(row, lane)


def _served(command: Claim | ClaimRun) -> Served | None:
    """What the worker serves, as far as it says and a lane has room for it."""
    served = Served(command.agents, command.labels) if type(command) is Claim else None
    return served if len(msgspec.json.encode(served)) <= MAX_SERVED_BYTES else None


def _claimed(plan: Plan, lane: Lane, row: RunRow) -> Taken:
    """The lane under its new epoch, which is an event."""
    plan.put_lane(lane)
    marks = LaneFacts(lane.worker_id, lane.epoch, lane.attempt)
    members = {"worker_id": lane.worker_id, "lease_epoch": lane.epoch, "attempt": lane.attempt}
    return Taken(plan.note(row, EventType.LANE_CLAIMED, members, Facts(effects=Effects(lane=marks)), by=LANES), lane)


def _renewed(plan: Plan, lane: Lane, lease_ms: int | None, *, reported: bool) -> Lane:
    """From now; never shorter than what is left unless a length was asked for. `reported`: its holder has."""
    now_ms = plan.serving_ms
    expires_at = now_ms + (lease_ms or lane.lease_ms)
    if lease_ms is None:
        lease_ms, expires_at = lane.lease_ms, max(expires_at, lane.expires_at or 0)
    lane = _replace(lane, expires_at=expires_at, lease_ms=lease_ms, last_heartbeat=now_ms, reported=reported)
    plan.put_lane(lane)
    return lane


def _held_lane(plan: Plan, principal: Principal, row: RunRow, command: Report | Finish | Release) -> Lane | None:
    """The lane if this worker holds it, or held it when the run ended."""
    lane = plan.lane(row.run) if row.has_lane else None
    if lane is None or lane.state in (QueueState.QUEUED, QueueState.BLOCKED):
        return None
    return lane if lane.belongs_to(command.worker_id, command.lease_epoch, principal.key_id) else None


def _ended(row: RunRow) -> RunEnded:
    return RunEnded(f"The run has ended: {row.status}.")


def needs_of_report(needs: Needs, principal: Principal, command: Report) -> NeedsSteps:
    """The run, its lane, and what the items need."""
    if principal.org not in needs.cache.counters:
        needs.counters(principal.org)  # and what is loaded with them
    row = needs.run(principal.org, RunById(command.run_id))
    if row is None:
        return None
    needs.notes(row)
    needs_of_texts(needs, row)
    if row.has_lane:
        needs.lane(row.run)
    if row.ended_seq is not None and any(map(_is_end, command.items)):
        needs.want(Kind.EVENT, (row.run, row.ended_seq))
    return needs_of_items(needs, principal, command)


def report(plan: Plan, principal: Principal, command: Report) -> Steps[Reported | TowerlogError]:
    """Renews, then appends. A loser's items are kept beside the run; the error comes after that is durable.

    So is a result that comes after an end which was another one. Raises Overloaded, before anything is placed, where a
    long history came before its sender's lease and so was not stored.
    """
    row = run_of(plan, principal, command.run_id)
    lane = _held_lane(plan, principal, row, command)
    ends = [item for item in command.items if _is_end(item)] if row.is_terminal() else []
    if ends and (lane is None or not all(_is_known(plan, row, end) for end in ends)):
        return (yield from _quarantine(plan, principal, row, command, command.items, _ended(row)))
    if lane is None:
        return (yield from _quarantine(plan, principal, row, command, command.items, LeaseLost()))
    for item in command.items:
        if type(item) is Draft and item.history is not None and came_too_early(item.history):
            raise Overloaded("The lease had not been granted when a long history was to be stored.", retry_after=1)
    if lane.state is QueueState.HELD:
        lane = _renewed(plan, lane, command.lease_ms, reported=True)
        lane, row = _phase(plan, lane, row, command)
    results = yield from place_items(plan, principal, command.items, command.dialect)
    if command.placed:
        results = [*command.placed, *results]
    row = plan.now_of(row)
    has_news = row.has_undelivered()
    row = mark_delivered(plan, row, command.dialect or LANES)
    return _reported(plan, principal, row, plan.lane(row.run) or lane, results, has_news)


def _is_end(item: Item) -> bool:
    return type(item) is Draft and TARGET_STATUS.get(item.type) in TERMINAL


def _is_known(plan: Plan, row: RunRow, item: Item) -> bool:
    """Whether an end says what the run ended with, or was told before."""
    if type(item) is not Draft:
        return False
    if item.event_id is not None and plan.event_by_id(row.run, item.event_id) is not None:
        return True  # whether it is the same is looked at where repeats are
    end = None if row.ended_seq is None else plan.event_at(row.run, row.ended_seq)
    return end is not None and same_end(end, item)


def _phase(plan: Plan, lane: Lane, row: RunRow, command: Report) -> tuple[Lane, RunRow]:
    """Applies phase and log line; what changed is an event. The lane is put into the plan."""
    members: dict[str, object] = {}
    if command.phase is not None and command.phase != lane.phase:
        members["phase"] = command.phase
    if command.log_line is not None and command.log_line != lane.log_line:
        members["log_line"] = command.log_line
    if not members:
        return lane, row
    lane = _replace(lane, phase=command.phase or lane.phase, log_line=command.log_line or lane.log_line)
    marks = LaneFacts(phase=command.phase) if "phase" in members else None
    row = plan.note(row, EventType.LANE_REPORT, members, Facts(effects=Effects(lane=marks)), by=LANES)
    plan.put_lane(lane)
    return lane, row


def _quarantine(
    plan: Plan, principal: Principal, row: RunRow, command: Report | Finish, items: list[Item], error: TowerlogError
) -> Steps[TowerlogError]:
    """Keeps drafts beside their run; `error` is what their sender is told."""
    drafts = [item for item in items if isinstance(item, Draft)]
    for draft in drafts:
        yield  # each may be as long as a body
        plan.changes.quarantined.append(
            Quarantined(
                row.org,
                row.run,
                plan.now_ms,
                command.worker_id,
                command.lease_epoch,
                draft.type,
                draft.facts.name,
                body_as_sent(draft),
                draft.event_id,
                command.dialect,
                principal.key_id,
            )
        )
    return error


def release(plan: Plan, principal: Principal, command: Release) -> Reported:
    """Back to the queue at once. Raises LeaseLost for anybody but the holder; released already: the same answer."""
    row = run_of(plan, principal, command.run_id)
    lane = plan.lane(row.run) if row.has_lane else None
    if lane is not None and lane.state is QueueState.QUEUED and lane.released_by == command.worker_id:
        if lane.key_id != principal.key_id:
            raise LeaseLost
        return _released(plan, principal, row, lane)
    held = _held_lane(plan, principal, row, command)
    if held is None:
        raise LeaseLost
    if row.is_terminal() or held.state is QueueState.DONE:
        raise _ended(row)
    if row.status is Status.CANCELLING:
        ended = force_cancelled(plan, row, "released while cancelling")
        return _reported(plan, principal, ended, _done(held))
    # A release is no failure: the attempt is given back.
    lane = _replace(
        held,
        state=QueueState.QUEUED,
        worker_id=None,
        released_by=command.worker_id,
        serves=None,
        expires_at=None,
        attempt=held.attempt - 1,
        queued_at=plan.serving_ms,
        queue_position=plan.counters(row.org).position + 1,
    )
    plan.put_lane(lane)
    marks = LaneFacts(command.worker_id, lane.epoch, lane.attempt)
    members: dict[str, object] = {"worker_id": command.worker_id, "lease_epoch": lane.epoch}
    row = plan.note(row, EventType.LANE_RELEASED, members, Facts(effects=Effects(lane=marks)), by=LANES)
    return _released(plan, principal, row, lane)


def _released(plan: Plan, principal: Principal, row: RunRow, lane: Lane) -> Reported:
    """What is wanted of the run from now on is for whoever claims it next."""
    return _reported(plan, principal, _replace(row, pending=(), questions=()), lane)


def _reported(
    plan: Plan,
    principal: Principal,
    row: RunRow,
    lane: Lane,
    results: list[Stored | Refusal] | None = None,
    has_news: bool = False,
) -> Reported:
    lane = lane.on_wall(plan.wall_of)
    view = lane_view(principal, with_texts(plan, row), lane, plan.agent(row.org, row.agent or DEFAULT_AGENT))
    return Reported(view, lane, results or [], has_news, has_warnings(results or ()))


def _done(lane: Lane) -> Lane:
    return _replace(lane, state=QueueState.DONE, expires_at=None)


def needs_of_finish(needs: Needs, principal: Principal, command: Finish) -> NeedsSteps:
    """The run, its lane, and what an end moves."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is None:
        return None
    needs.moves(row)
    if row.ended_seq is not None:
        needs.want(Kind.EVENT, (row.run, row.ended_seq))
    return needs_of_draft(needs, principal, command.draft, {})


def finish(plan: Plan, principal: Principal, command: Finish) -> Steps[Reported | TowerlogError]:
    """Ends a run as its holder. The same end asked for again by the same worker is answered the same.

    A result that nobody will see in the run is never answered as if it had been taken: it is kept beside the run.
    """
    row = run_of(plan, principal, command.run_id)
    lane = _held_lane(plan, principal, row, command)
    if lane is None:
        error = _ended(row) if row.is_terminal() else LeaseLost()
        return (yield from _quarantine(plan, principal, row, command, [command.draft], error))
    if row.is_terminal():
        if not _is_known(plan, row, command.draft):
            return (yield from _quarantine(plan, principal, row, command, [command.draft], _ended(row)))
        return _reported(plan, principal, row, lane)
    yield from place_items(plan, principal, [command.draft], command.dialect)
    return _reported(plan, principal, plan.now_of(row), plan.lane(row.run) or lane)


def expire(plan: Plan, lane: Lane, row: RunRow) -> tuple[Lane, RunRow]:
    """Takes a lane whose lease ran out from its holder: requeued, or lost after the last attempt, or cancelled."""
    marks = LaneFacts(lane.worker_id, lane.epoch, lane.attempt)
    members: dict[str, object] = {"worker_id": lane.worker_id, "lease_epoch": lane.epoch, "attempt": lane.attempt}
    if row.status is Status.CANCELLING:
        row = force_cancelled(plan, row, "the lease was lost")
    elif lane.attempt >= MAX_ATTEMPTS:
        plan.put_lane(_replace(lane, state=QueueState.DONE, worker_id=None, serves=None, expires_at=None))
        row = plan.note(row, EventType.LANE_LOST, members, Facts(effects=Effects(lane=marks)), by=LANES)
        error = f"lost by its worker {lane.attempt} times"
        row = plan.note(row, EventType.RUN_LOST, {"error": error}, Facts(error=error), by=LANES)
    else:
        plan.put_lane(_replace(lane, state=QueueState.QUEUED, worker_id=None, serves=None, expires_at=None))
        row = plan.note(row, EventType.LANE_LOST, members, Facts(effects=Effects(lane=marks)), by=LANES)
    return plan.lane(lane.run) or lane, row
