"""Rights inside an organisation: who may change a run, and who is told what people want of it.

A held run is its holder's: the key of its lease changes its state and gets its commands. A run in the queue is its
creator's: what takes it out of there is a claim, or the word of the key that put it in. Any other run is the key's that
reports it, as far as commands go; who reports on it is not looked at. Worker ids and run ids are no secrets, so neither
is a right.

The ids of events are told apart in the same way (`has_own_ids`): whoever uses an id first that the holder uses later
must not have the holder's event taken for a repeat.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from towerlog.engine.control.told_texts import needs_of_texts
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.model.event import NATURAL, PLAIN_TYPES, QUESTION_TYPES, Draft, EventType, RunRef, id_of_key
from towerlog.model.facts import NO_EFFECTS, Effects, Facts, some
from towerlog.model.key import Key
from towerlog.model.lane import Lane, QueueState
from towerlog.model.naming import names_agent
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow
from towerlog.projections.status import reports_recovery
from towerlog.store.values import Kind

TELEMETRY = PLAIN_TYPES | {EventType.MODEL_CALL, EventType.BUDGET_WARNING}
"""Types that by themselves say only what happens in a run."""
RUNS_AT_ONCE = 16
"""Runs that are looked up before the event loop may go on with something else."""
_replace = msgspec.structs.replace


def needs_of_change(needs: Needs, principal: Principal, row: RunRow) -> None:
    """Whose run it is: who holds it; where it is in the queue, or was not made for workers, who reports it."""
    lane = needs.lane(row.run) if row.has_lane else None
    if lane is None or _is_in_queue(lane):
        _needs_of_key(needs, principal, row)


def _needs_of_key(needs: Needs, principal: Principal, row: RunRow) -> None:
    """Whether the key that reports a run was revoked, if it is not the caller's."""
    if row.reporter_key not in (None, principal.key_id):
        needs.want(Kind.KEY, (row.org, row.reporter_key))


def changes_state(draft: Draft) -> bool:
    """Whether a draft says more of its run than what happened in it and what that has cost: its end, a pause, a
    question, an acknowledgement, a state to go on from."""
    effects = draft.facts.effects
    if draft.type not in TELEMETRY or effects is None:
        return draft.type not in TELEMETRY
    spent = {"report": None, "model": None, "provider": None, "reservation_id": None}
    return _replace(effects, beat=False, rate_limited=False, **spent) != NO_EFFECTS


def as_told_by(plan: Plan, principal: Principal, row: RunRow, draft: Draft, agent: str | None) -> Draft:
    """A draft of this agent as it is kept when this caller tells it. `row` has a lane.

    Foreign is what would change a run that is another key's, or would take what is meant for the next worker of one
    that is back in the queue. Other telemetry of another key's run counts and moves nothing of it but its clocks.
    """
    is_others, changes = is_of_another(plan, principal, row), changes_state(draft)
    lane = plan.lane(row.run)
    if lane is not None and lane.state is QueueState.DONE:
        # After the end a start fills in what was missing, and a late recovery changes the end.
        changes = changes and (draft.effects.is_start or reports_recovery(row, draft.type, draft.effects))
    elif lane is not None and not is_others:
        is_others = changes and lane.epoch > 0 and _is_in_queue(lane) and _is_to_its_worker(draft)
    if not is_others:
        return draft
    if changes or (not row.is_terminal() and not draft.part and names_agent(row, agent)):
        return as_foreign(draft)
    return _replace(draft, facts=_replace(draft.facts, by_other=True)) if draft.type in TELEMETRY else draft


def is_of_another(plan: Plan, principal: Principal, row: RunRow) -> bool:
    """Whether a run is another key's: a held one is its holder's, one in the queue its creator's, after its end it is
    both's; one that was not made for workers is the key's that reports it."""
    lane = plan.lane(row.run) if row.has_lane else None
    if lane is not None and lane.state is QueueState.HELD:
        return lane.key_id != principal.key_id
    if lane is not None and lane.state is QueueState.DONE:
        return principal.key_id not in (lane.key_id, row.reporter_key)
    return row.reporter_key is not None and not _is_of(plan, principal, row.reporter_key)


def numbered(plan: Plan, principal: Principal, run_state: RunState, facts: Facts, reporter_key: str | None) -> Facts:
    """The facts of an event that its client has numbered, without the number where that does not count.

    It counts from whose run it is, and from the key that has numbered under this client id before: a worker that has
    lost its lease fills its gaps. What others number says nothing of what of this run is missing. `reporter_key`: the
    key that reports the run with this event.
    """
    caller, client_id = principal.key_id, facts.client_id
    known = None if client_id is None else run_state.key_of_client(client_id)
    if known == caller or client_id is None or (known is None and reporter_key == caller):
        return facts
    if reporter_key != caller and is_of_another(plan, principal, run_state.row):
        return _replace(facts, client_id=None, client_seq=None, client_dropped=None)
    return _replace(facts, client_key=caller)


def _is_in_queue(lane: Lane) -> bool:
    return lane.state in (QueueState.QUEUED, QueueState.BLOCKED)


def _is_of(plan: Plan, principal: Principal, key_id: str | None) -> bool:
    """Whether a key is the caller's, or one of the same user's that was revoked: a program goes on under a new one."""
    return key_id == principal.key_id or is_revoked(plan, principal, key_id)


def _is_to_its_worker(draft: Draft) -> bool:
    """Whether a draft asks, or takes what people have answered or want: nobody does so for a run in the queue."""
    effects = draft.effects
    takes = effects.command_id is not None or effects.acknowledges is not None
    return takes or draft.type in QUESTION_TYPES or draft.type is EventType.COMMAND_ACKNOWLEDGED


def has_own_ids(plan: Plan, principal: Principal, row: RunRow) -> bool:
    """Whether what a key tells of a run is kept under ids of that key alone. `row` has a lane.

    The ids of a run that was made for workers are its last holder's, and its creator's while it is in the queue. Where
    nobody has ever held it and it is out of the queue, an id is the run's, as in a run without a lane.
    """
    lane = plan.lane(row.run)
    if lane is None:
        return False
    if _is_in_queue(lane):
        return row.reporter_key != principal.key_id
    return lane.key_id not in (None, principal.key_id)


def own_id(principal: Principal, draft: Draft) -> str | None:
    """What a draft is kept under among the ids of its sender's key; None for one without an id."""
    told = told_id(draft)
    return None if told is None else id_of_key(principal.key_id, told)


def told_id(draft: Draft) -> str | None:
    """The id that a draft has by itself: its sender's, else that of what happens once in a run."""
    if draft.event_id is not None or draft.natural_key is None:
        return draft.event_id
    return NATURAL + draft.natural_key


def as_foreign(draft: Draft) -> Draft:
    """The draft as it is kept: an event that changes nothing, under the name that it came with. What it has cost
    counts, as with all telemetry.

    Telemetry stays what it is, and does not name the run's agent.
    """
    if not changes_state(draft):
        return _replace(draft, facts=_replace(draft.facts, foreign=True, by_other=True))
    effects = draft.effects
    told = some(Effects(report=effects.report, model=effects.model, provider=effects.provider))
    facts = _replace(draft.facts, name=draft.facts.name or draft.type.value, foreign=True, effects=told)
    return _replace(draft, type=EventType.OTHER, facts=facts, natural_key=None, history=None, inside=None)


def makes_reporter(row: RunRow, draft: Draft) -> bool:
    """Whether a draft says who reports its run from now on: the first event, or the start of a run that was only heard
    of and has not ended."""
    if row.reporter_key is None:
        return True
    # Who has asked something waits for the answer, and keeps the run.
    has_asked = bool(row.questions or row.closed_questions)
    return row.implicit and draft.effects.is_start and not has_asked and not row.is_terminal()


def needs_of_telling(needs: Needs, principal: Principal, row: RunRow) -> None:
    """Who may be told what is wanted of a run: its lane, and the key that reports it where that is the one."""
    lane = needs.lane(row.run) if row.has_lane else None
    if told_key(row, lane) == row.reporter_key:
        _needs_of_key(needs, principal, row)


def needs_of_telling_all(needs: Needs, principal: Principal, refs: Iterable[RunRef]) -> Steps[None]:
    """The same of many runs, and what is noted where something is told of one."""
    for index, ref in enumerate(refs):
        if index and not index % RUNS_AT_ONCE:
            yield
        row = needs.run(principal.org, ref)
        if row is not None:
            needs_of_telling(needs, principal, row)
            if row.pending:
                needs.notes(row)
                needs_of_texts(needs, row)


def may_be_told(plan: Plan, principal: Principal, row: RunRow) -> bool:
    """Whether a caller may be told the commands to a run: as the key that holds it, else as the one that reports it.

    Of a reporting key that was revoked the keys of the same user take the place, so that a program goes on under a new
    one.
    """
    key_id = told_key(row, plan.lane(row.run) if row.has_lane else None)
    if key_id is None or key_id == principal.key_id:
        return key_id is not None
    return key_id == row.reporter_key and is_revoked(plan, principal, key_id)


def told_key(row: RunRow, lane: Lane | None) -> str | None:
    """Id of the key that the commands to a run are for. None: a run in the queue is nobody's."""
    if lane is not None and lane.state is not QueueState.DONE:
        return lane.key_id if lane.state is QueueState.HELD else None
    return row.reporter_key


def is_revoked(plan: Plan, principal: Principal, key_id: str | None) -> bool:
    """Whether a key was revoked whose user is the caller's."""
    key: Key | None = None if key_id is None else plan.loaded(Kind.KEY, (principal.org, key_id))
    return key is not None and key.revoked_at is not None and key.user_id == principal.user_id
