"""Signs of life that are no news: what is told again as it was told stores nothing, and says that its runner is there.

Where something would follow from silence, the server writes a heartbeat into the run: in time before it counts as
silent, to end a silence that was noted, and before a later run of its thread is taken for the one that goes on from it.
Everything else about liveness follows from the log, as it does for the heartbeats that runners send.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.load.lives import later_lives, may_go_on
from towerlog.engine.plan.plan import Plan
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.command import Append, Write
from towerlog.model.event import Draft, EventType, OpenRun, RunById, RunRef
from towerlog.model.facts import Effects, Facts
from towerlog.model.liveness import Thresholds
from towerlog.model.outcome import Stored
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow

BEATS = 3
"""A runner that tells the same again and again has so many heartbeats in the time after which it would count as silent;
between two of them its repeats store nothing."""
HEARTBEAT = "heartbeat"
"""What the event is called: as the one that runners send."""
TOLD_AGAIN = "its runner has told again what it had told"
_NOTED = Facts(name=HEARTBEAT, effects=Effects(beat=True, of_server=True))
_DATA = msgspec.json.encode({"reason": TOLD_AGAIN})


def note_repeat(plan: Plan, org: int, ref: RunRef, told: Stored, *, by: str) -> None:
    """Something was told again, of the run that the sender means by this now or of one before it. `by`: the dialect."""
    row = plan.run(org, ref)
    if row is None or row.run_id != told.run_id:
        row = plan.run(org, RunById(told.run_id))
    if row is not None:
        _note(plan, row, told.agent, by)


def _note(plan: Plan, row: RunRow, agent: str | None, by: str) -> None:
    run_state = plan.run_state_of(row.run)
    if run_state is None or row.is_terminal():
        return
    if _is_overdue(row, plan.now_ms, plan.reactions.thresholds) or _counts_as_left(plan, row):
        told_by = plan.agent(row.org, agent or row.agent or DEFAULT_AGENT)
        plan.append(run_state, told_by, EventType.OTHER, _DATA, dialect=by, facts=_NOTED)


def note_request_again(plan: Plan, principal: Principal, command: Write) -> None:
    """A request was sent again under its Idempotency-Key: it is answered as the first one was, and not looked at."""
    if not isinstance(command, Append):
        return
    refs = {id(one.run): one.run for one in command.items if isinstance(one, Draft)}
    for ref in refs.values():
        # "The thread's open run" may be another one by now.
        row = None if isinstance(ref, OpenRun) else plan.run(principal.org, ref)
        if row is not None:
            _note(plan, row, row.agent, command.dialect)


def _is_overdue(row: RunRow, now_ms: int, thresholds: Thresholds) -> bool:
    """Whether the last sign of life that is on record is so old that this one has to be. Of a run that a worker holds
    its lease tells."""
    if row.silent_at is not None:
        return True
    known = [one for one in (thresholds.silent_ms, thresholds.lost_ms) if one]
    if not known or not row.is_silence_timed():
        return False
    since = row.created_at if row.process_at is None else row.process_at
    return not 0 <= now_ms - since < min(known) // BEATS  # the wall clock may have been set back


def _counts_as_left(plan: Plan, row: RunRow) -> bool:
    """Whether what is asked of it would be asked of a later run, since nobody seems to work here any more."""
    numbers = may_go_on(row, plan.thread(row.org, row.thread_id))
    newest = [one for number in numbers if (one := plan.run_by_number(number)) is not None]
    return bool(newest) and bool(later_lives(row, newest, lambda ref: plan.run(row.org, ref)))
