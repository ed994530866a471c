"""Appending drafts: which run, seen before, which agent; then the plan folds them. Each item fails alone."""

from __future__ import annotations

from typing import assert_never

import msgspec

from towerlog.engine.commands.receipts import mark_delivered, with_receipts
from towerlog.engine.commands.rights import as_foreign, is_foreign, makes_reporter, may_be_told
from towerlog.engine.commit.missing import NotLoaded, all_in_one, note
from towerlog.engine.commit.own_runs import process_of, top_of
from towerlog.engine.commit.plan import Plan
from towerlog.engine.commit.postponed import finish
from towerlog.engine.commit.run_state import RunState
from towerlog.engine.commit.steps import Steps
from towerlog.engine.commit.turn import PlanFull
from towerlog.engine.ingest.added import asked, one_too_many, tell_untaken
from towerlog.engine.ingest.content import has_base
from towerlog.engine.ingest.dedupe import (
    has_older_runs,
    is_replayed,
    kept_under,
    late_checkpoint_id,
    run_of_repeat,
    starts_new_run,
    stored_before,
    told_before,
    waits_without_history,
    with_history,
)
from towerlog.engine.ingest.needs import parent_ref, tells_process_cost
from towerlog.errors import Damaged, NotFound, UnknownBase
from towerlog.model.agent import AgentRow
from towerlog.model.command import Append
from towerlog.model.event import (
    PLAIN_TYPES,
    TARGET_STATUS,
    TOOL_TYPES,
    AgentHeartbeat,
    Draft,
    EventType,
    Item,
    NamedRun,
    OpenRun,
    Refusal,
    RunByForeignId,
    RunById,
    RunByTrace,
)
from towerlog.model.facts import LATEST_STEP, NO_EFFECTS, Facts, Origin, some, with_effects
from towerlog.model.outcome import Appended, PolledRun, Stored
from towerlog.model.principal import Principal
from towerlog.model.run import PARENT_RUN, PARENT_TRACE, TERMINAL, RunRow
from towerlog.model.times import told_time
from towerlog.projections.runs import metadata_fits

ITEMS_AT_ONCE = 8
"""Of one request, before the event loop may go on with something else: an item may cost a millisecond."""
Targets = dict[int, tuple[RunState | None, bool]]
"""By the identity of a reference: its run, and whether its thread has older ones. Drafts of one run share theirs."""
_replace = msgspec.structs.replace
# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_TOOL_RESULT = EventType.TOOL_RESULT


def append_items(plan: Plan, principal: Principal, command: Append) -> Steps[Appended]:
    """Stores what can be stored; one result per item, in order. Raises NotFound for an unknown `agent_id`."""
    org, dialect = principal.org, command.dialect
    agent = None if command.agent_id is None else agent_by_id(plan, org, command.agent_id)
    results = yield from place_items(plan, principal, command.items, dialect, agent)
    if command.placed:
        results = [*command.placed, *results]
    has_news = has_commands = has_warnings = False
    for result in results:
        if type(result) is Stored:
            has_commands = has_commands or bool(result.commands)
            has_warnings = has_warnings or result.foreign or result.metadata_unused
    if has_commands and command.shows_commands:
        results, has_news = yield from with_receipts(plan, principal, results, dialect)
    told: list[PolledRun] = []
    for ref in command.polled:
        yield
        row = plan.run(org, ref)
        if row is not None and may_be_told(plan, principal, row):
            has_news = has_news or row.has_undelivered()
            told.append(PolledRun(ref, mark_delivered(plan, row, dialect)))
    return Appended(results, tuple(told), has_news, has_warnings)


def place_items(
    plan: Plan, principal: Principal, items: list[Item], dialect: str, agent: AgentRow | None = None
) -> Steps[list[Stored | Refusal]]:
    """The items of a request, each by itself; `agent`: all of them are this agent's. Raises PlanFull."""
    results: list[Stored | Refusal] = []
    targets: Targets = {}
    missing: list[NotLoaded] = []
    for index, item in enumerate(items):
        if index and plan.is_full():
            break
        if index and not index % ITEMS_AT_ONCE:
            yield
        if type(item) is not Draft:
            results.append(_place_other(plan, principal, item))
            continue
        try:
            try:
                replayed = item.natural_key is not None and is_replayed(plan, principal, items, index)
                results.append(_place(plan, principal, item, dialect, agent, targets, replayed))
            except Damaged as error:
                # What it may be a repeat of cannot be read, and so it cannot be told from news.
                results.append(Refusal(error.code, error.message))
            if plan.postponed:
                yield from finish(plan)
        except NotLoaded as one:
            note(missing, one)
        except Exception:
            if not missing:  # else it may be what was not loaded that broke it
                raise
    if missing:
        raise all_in_one(missing)
    if len(results) < len(items):
        raise PlanFull(results)
    return results


def _place_other(plan: Plan, principal: Principal, item: Item) -> Stored | Refusal:
    match item:
        case Refusal():
            return item
        case AgentHeartbeat():
            row = plan.agent(principal.org, item.agent)
            plan.tallies.beat(row)
            return Stored(0, 0, "", row.name)
        case Draft():
            raise TypeError("a draft has a place of its own")
        case _:
            assert_never(item)


def agent_by_id(plan: Plan, org: int, agent_id: str) -> AgentRow:
    """An agent by UUID. Raises NotFound."""
    name = plan.known.agent_name(org, agent_id)
    if name is None:
        raise NotFound("agent")
    return plan.agent(org, name)


def _place(
    plan: Plan,
    principal: Principal,
    draft: Draft,
    dialect: str,
    agent: AgentRow | None,
    targets: Targets,
    replayed: bool,
) -> Stored | Refusal:
    """Stores one draft. `replayed`: the request as a whole was seen before."""
    org, event_id, natural_key, ref = principal.org, draft.event_id, draft.natural_key, draft.run
    effects, target = draft.facts.effects, targets.get(id(ref))
    if target is None:
        has_others = type(ref) is OpenRun and has_older_runs(plan, org, ref.thread_id)
        target = targets[id(ref)] = (plan.run_state(org, ref), has_others)
    run_state, has_others = target
    if draft.inside is not None and run_state is not None and is_of_agent(run_state.row):
        draft = _replace(draft, type=EventType.OTHER, facts=draft.inside, natural_key=None, agent=None, inside=None)
        natural_key, effects = None, draft.facts.effects
    is_plain = effects is None and draft.type in PLAIN_TYPES
    if run_state is None or not is_plain or run_state.row.status in TERMINAL:
        targets.clear()  # what a reference means may change: a run may begin or end
    if has_others and event_id is not None and type(ref) is OpenRun:
        run_state = run_of_repeat(plan, principal, ref.thread_id, draft) or run_state
    if run_state is None and type(ref) is RunById:
        return Refusal("not_found", "There is no such run.", "run_id")
    if draft.history is not None and draft.history.base is not None and not has_base(plan, org, draft.history.base):
        return Refusal(UnknownBase.code, str(UnknownBase()), "data.base")
    if effects is not None or draft.history is not None:
        draft = _completed(plan, org, draft)
    if run_state is not None:
        has_lane, known_ids = run_state.row.has_lane, run_state.known_ids
        is_new = known_ids is not None and event_id not in run_state.ids and hash(event_id) not in known_ids
        may_repeat = natural_key is not None or (event_id is not None and (has_lane or not is_new))
        if may_repeat and (seen := told_before(plan, principal, run_state, draft, replayed)) is not None:
            return seen
    if run_state is not None and run_state.row.status in TERMINAL and starts_new_run(run_state.row, draft):
        draft, run_state = _resuming(draft, run_state.row), None
    kept_id, with_lane = event_id, run_state.row if run_state is not None and run_state.row.has_lane else None
    if natural_key is not None or with_lane is not None:
        kept_id = kept_under(plan, principal, run_state, draft)
    name = draft.agent if agent is None else agent.name
    if with_lane is not None and is_foreign(plan, principal, with_lane, draft, name):
        draft = as_foreign(draft)
    if run_state is not None and not is_plain and (refused := one_too_many(run_state, draft)) is not None:
        return refused
    if agent is None:
        agent = plan.agent(org, draft.agent or (run_state and run_state.row.agent) or draft.agent_default)
    if draft.facts.effects is not None and draft.facts.effects.checkpoint is not None:
        draft = _at_latest_step(plan, draft, run_state)
        if run_state is not None:
            found = _same_checkpoint(plan, run_state, draft, agent, kept_id)
            if isinstance(found, Stored):
                return found
            kept_id = found
            draft = _with_held(plan, draft, run_state.row, agent.name)
    return _store(plan, principal, draft, dialect, run_state, agent, kept_id)


def is_of_agent(row: RunRow) -> bool:
    """Whether an agent started this run, and not a workflow or a team."""
    return not row.implicit and not row.composite


def _at_latest_step(plan: Plan, draft: Draft, run_state: RunState | None) -> Draft:
    """A decision about the newest checkpoint names it; without one there is nothing to decide about."""
    facts = draft.effects.checkpoint
    if facts is None or not facts.decision or facts.step_index != LATEST_STEP:
        return draft
    latest = None if run_state is None else plan.row_of(run_state).latest_step()
    named = None if latest is None else _replace(facts, agent=latest[0], step_index=latest[1])
    found = with_effects(draft.facts, checkpoint=named)
    return _replace(draft, facts=_replace(found, effects=some(found.effects or NO_EFFECTS)))


def _store(
    plan: Plan,
    principal: Principal,
    draft: Draft,
    dialect: str,
    run_state: RunState | None,
    agent: AgentRow,
    event_id: str | None,
) -> Stored:
    facts, data = draft.facts, draft.data
    is_unused = run_state is not None and facts.effects is not None and not metadata_fits(run_state.row, facts.effects)
    if run_state is None:
        origin = _origin_of(plan, principal, draft, dialect)
        run_state = plan.begin_run(principal.org, origin, draft.type)
        plan.name_run(principal.org, draft.run, run_state.row.run)
        facts = with_effects(facts, origin=origin)
    elif facts.effects is not None and _reports_an_end(draft):
        row = run_state.row
        start, end = row.span_to(plan.now, told_time(draft.occurred_at, plan.now))
        facts = _replace(facts, duration_ms=end - (row.created_at if start is None else start))
    # What has no effects says nothing new of a run that somebody reports: that is most of all events.
    if (facts.effects is not None or run_state.row.reporter_key is None) and makes_reporter(run_state.row, draft):
        facts = with_effects(facts, reporter_key=principal.key_id)
    if facts.effects is not None and tells_process_cost(draft, run_state.row):
        facts = _of_process(plan, principal, run_state.row, facts, agent.name)
    if draft.type in TOOL_TYPES:
        facts, data = paired(run_state, draft.type, facts, data)
    elif draft.type is EventType.RUN_WAITING:
        facts, data = asked(run_state, facts, data)
    before = run_state.row
    event = plan.append(
        run_state,
        agent,
        draft.type,
        data,
        dialect=dialect,
        facts=facts,
        occurred_at=draft.occurred_at,
        event_id=event_id,
        told=draft,
    )
    row = run_state.row
    place = event.position, event.seq
    if draft.type is EventType.RUN_QUESTION_WITHDRAWN and not event.late:
        tell_untaken(plan, before, event.effects, dialect)
        row = run_state.row
    return Stored(*place, row.run_id, agent.name, False, event.late, row.pending, facts.foreign, is_unused)


def _reports_an_end(draft: Draft) -> bool:
    """An end with its usage, without saying how long the run took."""
    is_end = TARGET_STATUS.get(draft.type) in TERMINAL
    return is_end and draft.effects.report is not None and draft.facts.duration_ms is None


def _of_process(plan: Plan, principal: Principal, row: RunRow, facts: Facts, agent: str) -> Facts:
    """The facts of an event that tells a cost, with the name of the process whose counter it belongs to."""

    def find(ref: NamedRun) -> RunRow | None:
        found = plan.run_state(row.org, ref)
        return None if found is None else found.row

    effects = facts.effects or NO_EFFECTS
    report = effects.report
    if report is None:
        return facts
    row = row if row.agent is not None else _replace(row, agent=agent)
    trace, top = top_of(row, row.parent_key or effects.parent_key, find)
    costs = plan.thread_made(row.org, row.thread_id).process_costs
    process = process_of(row, trace, top, principal.key_id, costs, report.usage.cost_nanos or 0)
    return with_effects(facts, report=_replace(report, process=process))


def paired(run_state: RunState, kind: EventType, facts: Facts, data: bytes) -> tuple[Facts, bytes]:
    """A tool call's and its result's shared id: the sender's, else one made here."""
    if facts.tool_call_id is not None:
        return facts, data
    call_id = f"call-{run_state.seq + 1}"
    if run_state.open_tools and kind is _TOOL_RESULT:
        # The newest: the result of an older one may have been lost.
        found = (known for tool, known in reversed(run_state.open_tools) if tool == (facts.tool or ""))
        call_id = next(found, call_id)
    if b'"tool_call_id"' not in data:
        head = b'{"tool_call_id":' + msgspec.json.encode(call_id)
        rest = data[1:].lstrip()
        data = head + (b"" if rest.startswith(b"}") else b",") + rest
    return _replace(facts, tool_call_id=call_id), data


def _origin_of(plan: Plan, principal: Principal, draft: Draft, dialect: str) -> Origin:
    ref = draft.run
    trace_id = ref.trace_id if isinstance(ref, RunByTrace) else plan.ids.uuid().replace("-", "")
    return Origin(
        run_id=plan.ids.uuid(),
        thread_id="" if isinstance(ref, RunById) else ref.thread_id,
        trace_id=trace_id,
        foreign_id=ref.foreign_id if isinstance(ref, RunByForeignId) else None,
        implicit=not draft.effects.is_start,
        created_by=principal.user_id,
        parent_key=draft.effects.parent_key,
        resumed_from=_resumed_from(plan, principal.org, draft),
        source=dialect,
    )


def _resumed_from(plan: Plan, org: int, draft: Draft) -> str | None:
    """The run that a start goes on from: the thread's own one, which a runner takes up whether or not it ended.

    A child of a run of the same thread goes on from none.
    """
    if draft.effects.origin is not None:
        return draft.effects.origin.resumed_from
    ref = draft.run
    if not isinstance(ref, RunByTrace) or not ref.reopen:
        return None
    thread = plan.thread(org, ref.thread_id)
    parent_key = draft.effects.parent_key or ""
    parent = RunByTrace(ref.thread_id, parent_key.removeprefix(PARENT_TRACE))
    if thread is None or (parent_key.startswith(PARENT_TRACE) and plan.run_state(org, parent) is not None):
        return None
    before = plan.own_run(thread)
    return None if before is None else before.run_id


def _resuming(draft: Draft, row: RunRow) -> Draft:
    ref = draft.run if not isinstance(draft.run, OpenRun) else OpenRun(row.thread_id)
    origin = Origin("", row.thread_id, "", resumed_from=row.run_id)
    return _replace(draft, run=ref, facts=with_effects(draft.facts, origin=origin))


def _completed(plan: Plan, org: int, draft: Draft) -> Draft:
    """The draft with what only the log knows of it: its parent's run id, where its history lies."""
    ref = parent_ref(draft.effects.parent_key)
    parent = None if ref is None else plan.run(org, ref)
    if parent is not None:
        draft = _replace(draft, facts=with_effects(draft.facts, parent_key=PARENT_RUN + parent.run_id))
        if isinstance(draft.run, RunByForeignId) and not draft.run.names_thread:
            draft = _replace(draft, run=RunByForeignId(draft.run.foreign_id, parent.thread_id))
    if draft.history is not None or draft.effects.checkpoint is not None:
        draft = with_history(plan, org, draft)
    return draft


def _with_held(plan: Plan, draft: Draft, row: RunRow, agent: str) -> Draft:
    """A wait for approval that came without a history keeps the newest one of its agent, to resume from."""
    facts, share = draft.effects.checkpoint, row.shares.get(agent)
    if facts is None or not waits_without_history(facts) or share is None or share.step_index < 0:
        return draft
    before = plan.checkpoint(row.run, agent, share.step_index)
    if before is None or not before.resume_state().length:
        return draft
    held = _replace(facts, held=before.resume_state())
    return _replace(draft, facts=with_effects(draft.facts, checkpoint=held))


def _same_checkpoint(
    plan: Plan, run_state: RunState, draft: Draft, agent: AgentRow, event_id: str | None
) -> Stored | str | None:
    """The same checkpoint with the same content again stores nothing; else the id that it is to be stored under."""
    facts, row = draft.effects.checkpoint, run_state.row
    if facts is None or facts.decision:
        return event_id
    is_numbered = draft.facts.client_seq is not None  # its number has to arrive; a repeat of it is known by its id
    if not facts.initial and not is_numbered and not row.is_first_step(agent.name, facts.step_index):
        known = plan.checkpoint(row.run, agent.name, facts.step_index)
        if known is not None and not known.initial and known.digest == facts.digest:
            return Stored(known.position, known.seq, row.run_id, agent.name, True, False, row.pending)
    if event_id is None and row.is_terminal():
        event_id = late_checkpoint_id(agent.name, facts)
        event = plan.event_by_id(row.run, event_id)
        if event is not None:
            return stored_before(event, row, agent.name)
    return event_id
