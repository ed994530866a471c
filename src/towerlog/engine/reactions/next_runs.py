"""A run that goes on from another one of its thread which is open: what people want of that one is told to it.

Runners without a lease begin anew under another trace, or count their steps anew. A worker's next attempt is one of the
same run, and is told with its claim (`projections.commands`). What the run before waits for stays open until the next
one goes on: a runner that was begun again may wait for it still. Then it is withdrawn, and the run before is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec

from towerlog.engine.control.cancel import CONTROL, cancel_one
from towerlog.engine.control.steering import ask
from towerlog.engine.control.told_texts import with_texts
from towerlog.engine.load.misses import together
from towerlog.engine.load.own_runs import rows_above
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.follow_ups import postpone
from towerlog.engine.plan.plan import Plan
from towerlog.engine.reactions.sub_agents import is_sub_agent
from towerlog.errors import Damaged
from towerlog.model.checkpoint import AWAITS_APPROVAL, STATE_OF_DECIDED
from towerlog.model.event import Draft, Event, EventType, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.naming import may_go_on_from
from towerlog.model.pending import Pending
from towerlog.model.run import RunRow, Status
from towerlog.model.run_agents import agents_of, waiting_in
from towerlog.store.values import Kind

WITHDRAWN = "withdrawn"
"""What the event says of an approval that nobody waits for any more."""
MAX_BEFORE = 8
"""Open runs, each of which goes on from the one before, that are looked through."""
FIRST_STEP = 1
"""The first of which a runner tells a state of its own."""
MAX_BELOW = 64
"""Open runs of a thread, the newest, among which those below one are looked for."""
_GOES_ON = frozenset({Status.COMPLETED, Status.CANCELLED})
"""Ends of a run after which nobody takes up what those before it wait for; a run that broke off may be begun again."""


def carry_over(plan: Plan, before: RunRow | None, after: RunRow, event: Event) -> None:
    """A run begins that goes on from an open one: it is asked what that one is asked, or was and still holds, and gets
    the messages that nobody has taken there.

    One that is paused ends as lost: who resumes the thread must find one run to resume. If it waits for a person it is
    resumed instead. A used-up budget asks the new one itself. What was created for workers is a wish of its own.
    """
    if before is not None or after.resumed_from is None or after.has_lane:
        return
    old = plan.run(after.org, RunById(after.resumed_from))
    if old is None or old.is_terminal():
        return
    is_same = event.type is EventType.CHECKPOINT  # under the same trace: a state told anew, and no start, began it
    if is_same:
        postpone(plan, end_before, after)
    if old.status is Status.CANCELLING:
        cancel_one(plan, plan.now_of(after), None, old.cancel_reason)
        return
    _hand_over_messages(plan, old, after)
    pause = _pause_of(old)
    if pause is not None and pause.budget_id is None:
        members = {"resumed_from": old.run_id} | ({"reason": pause.content} if pause.content else {})
        ask(plan, plan.now_of(after), "pause", members)
    if is_same or (old.status is not Status.PAUSED and old.pause_taken is None):
        return
    if not _is_between(plan, old):
        postpone(plan, end_before, after)
        return
    reason = f"its runner began anew as run {after.run_id}, which holds the pause"
    released = Facts(effects=Effects(acknowledges="pause", of_server=True))
    plan.note(old, EventType.RUN_RESUMED, {"reason": reason, "resumed_by": after.run_id}, released, by=CONTROL)


def _hand_over_messages(plan: Plan, old: RunRow, after: RunRow) -> None:
    """Who writes to an agent means it, whichever of its lives hears of it."""
    if old.agent != after.agent:
        return
    if not any(one.type == "message" for one in old.pending):
        return
    for one in with_texts(plan, old).pending:
        if one.type != "message":
            continue
        members = {**_written(plan, old, one), "resumed_from": old.run_id}
        told = Facts(effects=Effects(requests="message"))
        plan.note(plan.now_of(after), EventType.RUN_MESSAGE, members, told, by=CONTROL)
        # Who goes on from the one before once more has it already.
        gone = {"command_id": one.command_id, "type": one.type, "resumed_by": after.run_id}
        taken = Facts(effects=Effects(command_id=one.command_id, of_server=True))
        plan.note(plan.now_of(old), EventType.COMMAND_ACKNOWLEDGED, gone, taken, by=CONTROL)


def _written(plan: Plan, row: RunRow, message: Pending) -> dict[str, object]:
    """What the event of a message says: its text, and who wrote it."""
    try:
        event = plan.event_at(row.run, message.command_id)
    except Damaged:
        event = None  # no runner is kept from its start by what cannot be read
    members: dict[str, object] = {} if event is None else msgspec.json.decode(event.data)
    return {**members, "content": message.content}


def _pause_of(row: RunRow) -> Pending | None:
    return row.pause_taken or next((one for one in row.pending if one.type == "pause"), None)


def end_before(plan: Plan, rows: list[RunRow]) -> Steps[None]:
    """Ends the runs that these go on from: nobody works there any more."""
    for row in rows:
        old = None if row.resumed_from is None else plan.run(row.org, RunById(row.resumed_from))
        if old is not None and not old.is_terminal():
            _end(plan, old, row)
        yield


def needs_of_before(needs: Needs, row: RunRow) -> None:
    """The open runs before this one, each with what it waits for."""
    for _ in range(MAX_BEFORE):
        old = None if row.resumed_from is None else needs.run(row.org, RunById(row.resumed_from))
        if old is None or old.is_terminal() or old.has_lane or not may_go_on_from(row, old):
            return
        needs.moves(old)
        for agent, share in waiting_in(old):
            needs.want(Kind.CHECKPOINT, (old.run, agent, share.awaited_step))
        latest = old.latest_step()
        if latest is not None:
            needs.want(Kind.CHECKPOINT, (old.run, *latest))
        row = old


def tells_state(plan: Plan, row: RunRow, draft: Draft, agent: str) -> None:
    """A run gets a checkpoint. Those that it goes on from are looked at once that is placed."""
    facts = draft.effects.checkpoint
    if facts is None or facts.decision or facts.initial or row.is_terminal() or row.has_lane:
        return
    if any(old.share(agent) is not None for old in _before(plan, row)):
        postpone(plan, _end_passed, row)


def completed(plan: Plan, before: RunRow | None, after: RunRow, _event: Event) -> None:
    """Withdraws open questions of earlier attempts once a run has ended as planned."""
    ends = after.status in _GOES_ON and after.has_ended_since(before) and not after.has_lane
    if ends and any(_before(plan, after)):
        postpone(plan, _end_passed, after)


def _before(plan: Plan, row: RunRow) -> Iterator[RunRow]:
    """The open runs that a run goes on from, the newest first."""
    for _ in range(MAX_BEFORE):
        old = None if row.resumed_from is None else plan.run(row.org, RunById(row.resumed_from))
        if old is None or old.is_terminal() or old.has_lane or not may_go_on_from(row, old):
            return
        yield old
        row = old


def _end_passed(plan: Plan, rows: list[RunRow]) -> Steps[None]:
    """Ends those before these runs that wait for a person, or have a decision that none of their agents has taken.

    One that waits for nothing may be at work beside them.
    """
    for row in {one.run: one for one in rows}.values():
        now = plan.now_of(row)
        for old in list(_before(plan, now)):
            if old.status is not Status.CANCELLING and (yield from _is_passed(plan, old, now)):
                _end(plan, old, now)
        yield


def _is_passed(plan: Plan, old: RunRow, row: RunRow) -> Steps[bool]:
    """Whether a run has told a state of an agent of the one before that waits, or a later step where its sub-agents
    wait; or has ended, as one of the same agent."""
    both = ((old.share(agent), row.share(agent)) for agent in dict.fromkeys((*agents_of(old), *agents_of(row))))
    own = [(share, after) for share, after in both if share is not None and after is not None]
    has_ended = row.status in _GOES_ON and (bool(own) or row.agent == old.agent)
    told = has_ended or any(after.step_index >= 0 for _, after in own)
    if told and _is_between(plan, old):
        return True
    is_later = has_ended or any(after.step_index > share.step_index for share, after in own)
    return is_later and (yield from _waits_below(plan, old))


def _is_between(plan: Plan, row: RunRow) -> bool:
    """Whether a run waits for a person, has an answer that nobody has taken, or its newest state has a decision."""
    if _waits(row) or any(one.type == "input" for one in row.pending):
        return True
    latest = row.latest_step()
    state = None if latest is None else plan.checkpoint(row.run, *latest)
    return state is not None and state.decided_at is not None and state.status in STATE_OF_DECIDED


def _waits_below(plan: Plan, row: RunRow) -> Steps[bool]:
    """Whether a sub-agent that is told of by checkpoints alone waits for a person below a run, in its thread."""
    numbers = plan.thread_made(row.org, row.thread_id).open_runs[-MAX_BELOW:]
    rows = yield from together(partial(plan.run_by_number, number) for number in numbers)
    waiting = [one for one in rows if one is not None and is_sub_agent(one) and _waits(one)]
    lines = yield from together(partial(rows_above, one, lambda ref: plan.run(row.org, ref)) for one in waiting)
    return any(above.run == row.run for line in lines for above in line)


def _waits(row: RunRow) -> bool:
    return bool(row.questions) or bool(waiting_in(row))


def _end(plan: Plan, old: RunRow, after: RunRow) -> None:
    """Withdraws what an open run waits for, and ends it; `after`: the run that goes on."""
    error = f"its runner was restarted and began anew as run {after.run_id}"
    why = {"reason": error, "resumed_by": after.run_id}
    left = [(agent, share.awaited_step) for agent, share in waiting_in(old)]
    for agent, step_index in (*left, *_decided_in_vain(plan, old, after)):
        of_step = CheckpointFacts(step_index, AWAITS_APPROVAL, decision=True, agent=agent, left=True)
        facts = Facts(name=WITHDRAWN, effects=Effects(checkpoint=of_step, of_server=True))
        members = {"step_index": step_index, "agent": agent, "status": WITHDRAWN, **why}
        plan.note(plan.now_of(old), EventType.CHECKPOINT, members, facts, by=CONTROL)
    for question in plan.now_of(old).questions:
        facts = Facts(effects=Effects(question_id=question.question_id, of_server=True))
        members = {"question_id": question.question_id, **why}
        plan.note(plan.now_of(old), EventType.RUN_QUESTION_WITHDRAWN, members, facts, by=CONTROL)
    ended = {"error": error, "resumed_by": after.run_id}
    plan.note(plan.now_of(old), EventType.RUN_LOST, ended, Facts(error=error), by=CONTROL)


def _decided_in_vain(plan: Plan, old: RunRow, after: RunRow) -> list[tuple[str, int]]:
    """The newest state of a run, where that has a decision which the next one has not gone on from: no later than there
    it was in a state of its own, which is no longer. One that goes on has a longer history, or tells the old steps."""
    latest = old.latest_step()
    row = None if latest is None else plan.checkpoint(old.run, *latest)
    if latest is None or row is None or row.decided_at is None or row.status not in STATE_OF_DECIDED:
        return []
    agent, step_index = latest
    share, decided = after.share(agent), row.resume_state()
    for step in () if share is None else {FIRST_STEP, share.step_index}:
        own = plan.checkpoint(after.run, agent, step) if 0 <= step <= step_index else None
        old_one = None if own is None or own.initial else plan.checkpoint(old.run, agent, step)
        if own is None or old_one is None or own.node in (old_one.node, decided.node):
            continue
        if own.length <= decided.length:
            return [latest]
    return []
