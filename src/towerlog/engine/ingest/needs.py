"""What drafts need: their runs, agents and ids; of those that move something, threads, lanes, checkpoints, content."""

from __future__ import annotations

from towerlog.engine.alerts.scope import needs_of_end
from towerlog.engine.control.rights import as_foreign, needs_of_change, needs_of_telling, needs_of_telling_all, own_id
from towerlog.engine.control.told_texts import needs_of_texts
from towerlog.engine.ingest.content import needs_of_history
from towerlog.engine.ingest.dedupe import REMEMBERED_RUNS, respelled, waits_without_history
from towerlog.engine.ingest.origins import named_agent
from towerlog.engine.ingest.spans import needs_of_span
from towerlog.engine.load.lives import earlier_lives
from towerlog.engine.load.own_runs import parent_within, run_before, top_of
from towerlog.engine.load.rows import Needs, NeedsSteps
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import is_plain
from towerlog.engine.reactions.budgets import needs_of_scope, needs_of_warning
from towerlog.engine.reactions.cancels import needs_above
from towerlog.engine.reactions.next_runs import needs_of_before
from towerlog.engine.reactions.sub_agents import is_sub_agent
from towerlog.model.alert import AlertTrigger
from towerlog.model.command import Append, Report
from towerlog.model.event import (
    NATURAL,
    TARGET_STATUS,
    AgentHeartbeat,
    Draft,
    Event,
    EventType,
    Item,
    OpenRun,
    RunByForeignId,
    RunById,
    RunByTrace,
    id_of_key,
)
from towerlog.model.facts import LATEST_STEP, Effects
from towerlog.model.naming import may_be_named
from towerlog.model.principal import Principal
from towerlog.model.run import PARENT_FOREIGN, PARENT_RUN, PARENT_TRACE, TERMINAL, RunRow, Status
from towerlog.store.values import Kind

Rows = dict[int, RunRow | None]
"""By the identity of a reference: its run's row, as far as it is known. Drafts of one run share theirs."""


ITEMS_OF_GROUP = 500
"""Items of one request in a group, as many as a batch of the native API has; the others go on in the next."""
LOOKS_OF_LIFE = 48
"""Of the ids that a group looks for: a run before the one that is meant, in which an event and a state may be read and
compared with what is told."""
WORK_OF_LIFE = 8
"""The same in plain events."""
ITEMS_AT_ONCE = 16
RUNS_AT_ONCE = 128
"""Items of a request, and open runs of a thread, before the event loop may go on with something else."""


def needs_of_append(needs: Needs, principal: Principal, command: Append) -> NeedsSteps:
    """All items, the agent they are of, and the runs that the reply tells about."""
    org = principal.org
    if org not in needs.cache.counters:
        needs.counters(org)
    if command.agent_id is not None:
        needs.agent_by_id(org, command.agent_id)
    told = needs_of_items(needs, principal, command, names_agents=command.agent_id is None)
    if not command.polled:
        return told
    return _in_turn(told, needs_of_telling_all(needs, principal, command.polled))


def _in_turn(*all_told: NeedsSteps) -> Steps[None]:
    for told in all_told:
        if told is not None:
            yield from told


def needs_of_items(
    needs: Needs, principal: Principal, command: Append | Report, *, names_agents: bool = True
) -> NeedsSteps:
    """The items of a request, as many as one group takes; `names_agents`: whose each is, is found by itself."""
    rows: Rows = {}
    items = command.items
    count = len(items)
    if count > 1:
        if command.portion or count > ITEMS_OF_GROUP:
            needs.known.take_only(items, min(command.portion or ITEMS_OF_GROUP, ITEMS_OF_GROUP))
        count = needs.known.portion_of(items)
    for index, item in enumerate(items[: min(count, ITEMS_AT_ONCE)]):
        if index and needs.is_full():
            needs.known.take_only(items, index)
            return None
        told = _needs_of_item(needs, principal, item, rows, names_agents)
        if told is not None:
            return _in_turn(told, _needs_of_others(needs, principal, items, index + 1, rows, names_agents))
    if count <= ITEMS_AT_ONCE:
        return None  # as with most requests: no steps
    return _needs_of_others(needs, principal, items, ITEMS_AT_ONCE, rows, names_agents)


def _needs_of_others(
    needs: Needs, principal: Principal, items: list[Item], first: int, rows: Rows, names_agents: bool
) -> Steps[None]:
    """The items of a long request from one of them on."""
    for index in range(first, needs.known.portion_of(items)):
        if needs.is_full():
            needs.known.take_only(items, index)
            return
        if not index % ITEMS_AT_ONCE:
            yield
        told = _needs_of_item(needs, principal, items[index], rows, names_agents)
        if told is not None:
            yield from told


def _needs_of_item(needs: Needs, principal: Principal, item: Item, rows: Rows, names_agents: bool) -> NeedsSteps:
    if type(item) is Draft:
        return needs_of_draft(needs, principal, item, rows, names_agents)
    if type(item) is AgentHeartbeat:
        needs.agent(principal.org, item.agent)
    return None


def needs_of_draft(
    needs: Needs, principal: Principal, draft: Draft, rows: Rows, names_agents: bool = True
) -> NeedsSteps:
    """One draft; `rows` is shared by the drafts of a request."""
    org, ref = principal.org, draft.run
    key, event_id, effects = id(ref), draft.event_id, draft.facts.effects
    is_known = key in rows
    if not is_known:
        rows[key] = needs.run(org, ref)
    row = rows[key]
    if draft.span is not None:
        needs_of_span(needs, org, draft)
    if names_agents:
        needs.agent(org, draft.agent or (row and row.agent) or draft.agent_default)
    if row is not None:
        # A part names no agent for its run.
        if not draft.part and row.agent is not None and draft.agent not in (None, row.agent) and may_be_named(row):
            needs.agent(org, row.agent)
        known = needs.cache.event_ids.get(row.run)
        may_repeat = draft.natural_key is not None or known is None
        if event_id is not None and known is not None and not may_repeat:
            may_repeat = hash(event_id) in known
            if row.has_lane and not may_repeat:
                may_repeat = hash(id_of_key(principal.key_id, event_id)) in known
        if may_repeat:
            _needs_of_ids(needs, principal, draft, row)
        is_asked = bool(row.pending) or row.pause_taken is not None or row.status is Status.CANCELLING
        if (is_asked or row.status in TERMINAL) and not is_known:
            needs_of_telling(needs, principal, row)
        if is_asked and not is_known:
            needs.notes(row)
            needs_of_texts(needs, row)
        # All drafts of a request have a client, or none.
        if not is_known and (row.has_lane or draft.facts.client_id is not None):
            needs_of_change(needs, principal, row)
        if needs.cache.budgets.get(org):
            needs_of_warning(needs, row)
        if type(ref) is RunByForeignId and ref.names_thread and ref.thread_id != row.thread_id:
            needs.thread(org, row.thread_id)
            needs.thread(org, ref.thread_id)
        if event_id is not None and type(ref) is OpenRun:
            _needs_of_repeat(needs, principal, draft, ref.thread_id, event_id)
        if row.resumed_from is not None and not row.has_lane:
            _needs_of_lives(needs, principal, draft, row)
    # Where a run begins, its reference says what is needed, and so the first draft has asked for all of it.
    if (row is not None or is_known) and is_plain(draft.type, effects):
        return None
    told = _needs_of_run(needs, org, draft, row)
    if effects is not None:
        _needs_of_effects(needs, org, draft, effects, row)
    if draft.otherwise is not None and row is not None:
        _needs_of_ids(needs, principal, draft.otherwise, row)
    return told


def _needs_of_ids(needs: Needs, principal: Principal, draft: Draft, row: RunRow) -> None:
    """What the run has under the ids that a draft may be stored by."""
    key, own = draft.natural_key, own_id(principal, draft) if row.has_lane else None
    for one in (draft.event_id, None if key is None else NATURAL + key, own):
        known = None if one is None else needs.event_id(row.run, one)
        if known is not None:
            _compare(needs, known, draft)


def _compare(needs: Needs, known: Event, draft: Draft) -> None:
    """Whether a stored event and the draft under its id say the same."""
    repeat = respelled(known, as_foreign(draft) if known.facts.foreign else draft)
    if repeat is not None:
        needs.want(Kind.SAME, repeat)


def _needs_of_repeat(needs: Needs, principal: Principal, draft: Draft, thread_id: str, event_id: str) -> None:
    """The runs of a thread that a repeat may belong to."""
    org = principal.org
    thread = needs.thread(org, thread_id)
    if thread is not None and thread.run_count > 1:
        for stored in needs.want(Kind.THREAD_RUNS, (org, thread_id, REMEMBERED_RUNS)) or ():
            _needs_of_ids(needs, principal, draft, stored)
            if stored.has_lane:
                needs.lane(stored.run)


def _needs_of_lives(needs: Needs, principal: Principal, draft: Draft, row: RunRow) -> None:
    """The runs before this one that may have the same, under its id or as a state."""
    facts = draft.effects.checkpoint
    earlier = earlier_lives(row, draft.run, lambda ref: needs.run(row.org, ref))
    needs.looked_up += LOOKS_OF_LIFE * len(earlier)
    misses = needs.misses
    if earlier and draft.occurred_at is not None:
        needs.want(Kind.EVENT, (row.run, 1))
    for life in earlier:
        _needs_of_ids(needs, principal, draft, life)
        agent = draft.agent or row.agent or draft.agent_default
        is_state = draft.event_id is None and facts is not None and not facts.initial and not facts.decision
        if is_state and facts is not None and not life.is_first_step(agent, facts.step_index):
            needs.want(Kind.CHECKPOINT, (life.run, agent, facts.step_index))
    if earlier and needs.misses == misses:
        needs.known.more_work[row.org] += WORK_OF_LIFE * len(earlier)


def _needs_of_run(needs: Needs, org: int, draft: Draft, row: RunRow | None) -> NeedsSteps:
    """Where a run begins, or its status moves."""
    ref = draft.run
    if row is None or (row.is_terminal() and getattr(ref, "reopen", False)):
        thread_id = getattr(ref, "thread_id", "")
        thread = needs.thread(org, thread_id) if thread_id else None
        if isinstance(ref, RunByTrace) and ref.reopen and thread is not None:
            run_before(thread, named_agent(draft), needs.run_by_number, lambda one: needs.run(org, one))
            _needs_of_parent(needs, org, draft, ref.thread_id)
    if row is not None and _may_move(draft):
        needs.moves(row)
        if TARGET_STATUS.get(draft.type) in TERMINAL:
            needs_of_before(needs, row)
        if draft.type is EventType.RUN_FAILED and not row.is_terminal():
            needs_of_end(needs, row, AlertTrigger.ERROR)
        # A run that sends its first state with its end has its sub-agents looked up when that is placed.
        if TARGET_STATUS.get(draft.type) in TERMINAL and row.latest_step() is not None:
            return _needs_of_sub_agents(needs, row)
    return None


def _needs_of_parent(needs: Needs, org: int, draft: Draft, thread_id: str) -> None:
    """The parent that a run which begins may have in its thread."""
    parent_key = draft.effects.parent_key or ""
    if parent_key.startswith(PARENT_TRACE):
        parent = needs.run(org, RunByTrace(thread_id, parent_key.removeprefix(PARENT_TRACE)))
        if parent is not None:
            needs_above(needs, parent)


def _needs_of_sub_agents(needs: Needs, row: RunRow) -> Steps[None]:
    """The runs that may end with this one: each with what an end moves, and what its last checkpoint says."""
    thread = needs.thread(row.org, row.thread_id)
    for index, number in enumerate(() if thread is None else needs.to_look_through(thread)):
        if index and not index % RUNS_AT_ONCE:
            yield
        below = needs.run_by_number(number)
        latest = None if below is None else below.latest_step()
        if below is None or latest is None or below.run == row.run or not is_sub_agent(below):
            continue
        needs.moves(below)
        needs.want(Kind.CHECKPOINT, (below.run, *latest))
        parent_within(below, lambda ref: needs.run(row.org, ref))


def _may_move(draft: Draft) -> bool:
    moves = draft.type in TARGET_STATUS or draft.type is EventType.COMMAND_ACKNOWLEDGED
    return moves or draft.effects.status is not None


def parent_ref(parent_key: str | None) -> RunByForeignId | RunById | None:
    """The run that a parent key names, where that can be looked up: by its sender's id or by ours."""
    if parent_key is not None and parent_key.startswith(PARENT_FOREIGN):
        return RunByForeignId(parent_key.removeprefix(PARENT_FOREIGN), "")
    if parent_key is not None and parent_key.startswith(PARENT_RUN):
        return RunById(parent_key.removeprefix(PARENT_RUN))
    return None


def _needs_of_effects(needs: Needs, org: int, draft: Draft, effects: Effects, row: RunRow | None) -> None:
    ref = parent_ref(effects.parent_key)
    parent = None if ref is None else needs.run(org, ref)
    if ref is None and effects.parent_key is not None and (row is None or row.parent_key is None):
        _needs_of_parent(needs, org, draft, getattr(draft.run, "thread_id", "") if row is None else row.thread_id)
    if parent is not None and (row is None or row.parent_key is None):
        needs_above(needs, parent)
    if parent is not None and not getattr(draft.run, "names_thread", True):
        needs.thread(org, parent.thread_id)
        if row is not None:
            needs.thread(org, row.thread_id)
    if tells_process_cost(draft, row):
        _needs_of_process(needs, org, draft, row)
    if effects.reservation_id is not None:
        needs.want(Kind.RESERVATION, (org, effects.reservation_id))
    if effects.report is not None and row is not None and needs.cache.budgets.get(org):
        needs_of_scope(needs, row)
    checkpoint = effects.checkpoint
    if checkpoint is None:
        return
    if draft.history is not None and not checkpoint.decision:
        needs_of_history(needs, org, draft.history)
    if row is None:
        return
    agent, step_index = checkpoint.agent or draft.agent or row.agent or draft.agent_default, checkpoint.step_index
    if step_index == LATEST_STEP:
        latest = row.latest_step()
        if latest is None:
            return
        agent, step_index = latest
    share = row.share(agent)
    if share is not None and 0 <= share.awaited_step < step_index:
        needs.want(Kind.CHECKPOINT, (row.run, agent, share.awaited_step))
    if share is not None and share.step_index >= 0 and waits_without_history(checkpoint):
        needs.want(Kind.CHECKPOINT, (row.run, agent, share.step_index))
    if not checkpoint.decision:
        needs_of_before(needs, row)
    if not row.is_first_step(agent, step_index):
        needs.want(Kind.CHECKPOINT, (row.run, agent, step_index))


def tells_process_cost(draft: Draft, row: RunRow | None) -> bool:
    """Whether a draft tells a cost of a run that has told, or tells with it, a running total of its process."""
    report = draft.effects.report
    if report is None or report.usage.cost_nanos is None:
        return False
    return report.process_cost or (row is not None and row.process_cost is not None)


def _needs_of_process(needs: Needs, org: int, draft: Draft, row: RunRow | None) -> None:
    """The thread, which remembers what was counted of a process, and the runs above that name it."""
    thread_id = getattr(draft.run, "thread_id", "") if row is None else row.thread_id
    thread = needs.thread(org, thread_id) if thread_id else None
    for name in set() if thread is None else {one.agent for places in thread.cost_places.values() for one in places}:
        needs.agent(org, name)
    if row is not None:
        top_of(row, row.parent_key or draft.effects.parent_key, lambda ref: needs.run(org, ref))
    elif thread_id:
        _needs_of_parent(needs, org, draft, thread_id)
