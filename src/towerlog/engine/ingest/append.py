"""Appending drafts: which run, seen before, which agent; then the plan folds them. Each item fails alone."""

from __future__ import annotations

import msgspec

from towerlog.engine.commit.group_size import MAX_GROUP_WORK
from towerlog.engine.commit.queue import BYTES_OF_WORK, WORK_OF_REFUSED, work_of_item
from towerlog.engine.commit.turn import ContentGone, PlanFull
from towerlog.engine.control.heard import note_repeat
from towerlog.engine.control.receipts import commands_with, polled_run, with_receipts
from towerlog.engine.control.rights import (
    as_told_by,
    has_own_ids,
    is_of_another,
    makes_reporter,
    may_be_told,
    numbered,
)
from towerlog.engine.ingest.calls import correct_earlier
from towerlog.engine.ingest.checkpoints import placed_state
from towerlog.engine.ingest.checks import (
    completed,
    of_process,
    one_too_many,
    refused_of,
    reports_an_end,
    run_that_ends,
    unused_of,
    with_question,
    withdraws_nothing,
)
from towerlog.engine.ingest.circles import with_parent
from towerlog.engine.ingest.dedupe import (
    as_other,
    has_older_runs,
    kept_under,
    run_of_repeat,
    starts_new_run,
    told_before,
)
from towerlog.engine.ingest.named_threads import in_named_thread
from towerlog.engine.ingest.needs import tells_process_cost
from towerlog.engine.ingest.origins import named_or_assumed, origin_of, resuming
from towerlog.engine.ingest.other_items import agent_by_id, place_other
from towerlog.engine.ingest.restarts import happens_once, in_its_life
from towerlog.engine.ingest.spans import Traces, placed_span
from towerlog.engine.load.cache import Cache
from towerlog.engine.load.misses import Unloaded
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.follow_ups import finish
from towerlog.engine.plan.plan import Plan, is_plain
from towerlog.engine.plan.run_state import RunState
from towerlog.engine.reactions.budgets import with_warnings
from towerlog.errors import Damaged, IdReused
from towerlog.model.agent import AgentRow
from towerlog.model.command import Append
from towerlog.model.event import (
    QUESTION_TYPES,
    TOOL_TYPES,
    Draft,
    EventType,
    Item,
    OpenRun,
    Refusal,
    RunByForeignId,
    RunRef,
    id_of_key,
)
from towerlog.model.facts import Facts, with_effects
from towerlog.model.lane import QueueState
from towerlog.model.outcome import Appended, PolledRun, Stored
from towerlog.model.principal import Principal
from towerlog.model.run import LONG_ID, MAX_OPEN_ID_CHARS, TERMINAL, OpenTool, RunRow, long_call_id, step_key
from towerlog.model.times import told_time

ITEMS_AT_ONCE = 8
"""Of one request, before the event loop may go on with something else: an item may cost a millisecond. With what an
organisation has set up (prices, budgets, rules) it may be more; then it is one."""
_replace = msgspec.structs.replace
# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_TOOL_RESULT = EventType.TOOL_RESULT


class _Target(msgspec.Struct):
    """What the drafts of one reference have in common, until one of them may change what it means."""

    run_state: RunState | None
    has_others: bool
    """Whether its thread has older runs."""
    row: RunRow | None = None
    """The run's row, where it has a lane, when what is below was found out: that changes only together with it."""
    is_others: bool = False
    """Whether the run is another key's."""
    own: str = ""
    """How the ids of the sender's key begin."""
    keeps_own: bool = False
    """Whether what the sender tells is kept under these."""

    def may_have_own(self, plan: Plan, principal: Principal, run_state: RunState, event_id: str | None) -> bool:
        """Whether the run, which has a lane, may have something under this id among those of the sender's key."""
        if run_state.row is not self.row:
            self.row, self.own = run_state.row, id_of_key(principal.key_id, "")
            lane = plan.lane(run_state.row.run)
            if lane is not None and lane.state is QueueState.HELD and lane.key_id == principal.key_id:
                self.keeps_own = self.is_others = False  # as nearly always: its holder's
            else:
                self.keeps_own = has_own_ids(plan, principal, run_state.row)
                self.is_others = is_of_another(plan, principal, run_state.row)
        known = run_state.known_ids
        if event_id is None or known is None:
            return event_id is not None
        return self.own + event_id in run_state.ids or hash(self.own + event_id) in known


Targets = dict[int, _Target]
"""By the identity of a reference. Drafts of one run share theirs."""


def _target_of(plan: Plan, org: int, ref: RunRef) -> _Target:
    has_others = type(ref) is OpenRun and has_older_runs(plan, org, ref.thread_id)
    return _Target(plan.run_state(org, ref), has_others)


def append_items(plan: Plan, principal: Principal, command: Append) -> Steps[Appended]:
    """Stores what can be stored; one result per item, in order. Raises NotFound for an unknown `agent_id`."""
    org, agent_id = principal.org, command.agent_id
    agent = None if agent_id is None else agent_by_id(plan, org, agent_id)
    placed = yield from place_items(plan, principal, command.items, command.dialect, agent)
    results = [*command.placed, *placed] if command.placed else placed
    budgets = plan.cache.budgets.get(org)
    if budgets is None or budgets:  # most have none
        results = with_warnings(plan, org, results)
    has_news = has_warnings = False
    with_commands, told = list[Stored](), list[PolledRun]()
    for result in results:
        if type(result) is Stored:
            if result.commands:
                with_commands.append(result)
            has_warnings = has_warnings or result.foreign or bool(result.unused)
    if with_commands and command.shows_commands:
        results, has_news = yield from with_receipts(plan, principal, results, command.dialect)
    for ref in command.polled:
        yield
        row = plan.run(org, ref)
        if row is not None and may_be_told(plan, principal, row):
            has_news = has_news or row.has_undelivered()
            has_asked = any(one.late and one.run_id == row.run_id for one in with_commands)
            told.append(polled_run(plan, ref, row, command, has_asked))
    return Appended(results, tuple(told), has_news, has_warnings)


def place_items(
    plan: Plan, principal: Principal, items: list[Item], dialect: str, agent: AgentRow | None = None
) -> Steps[list[Stored | Refusal]]:
    """The items of a request, each by itself; `agent`: all of them are this agent's. Raises PlanFull."""
    results, targets, missing = list[Stored | Refusal](), Targets(), Unloaded()
    traces = Traces(plan, principal.org)
    work, is_batch = 0, len(items) > 1
    at_once = _items_at_once(plan.cache, principal.org) if is_batch else 1
    book = plan.reactions.book
    looked_up = book.looked_up if is_batch else 0
    portion = plan.known.portion_of(items) if is_batch else 1
    for index, item in enumerate(items):
        if index and (not index % at_once or book.looked_up != looked_up):
            looked_up = book.looked_up
            yield
        if index and (index >= portion or work >= MAX_GROUP_WORK or plan.is_full()):
            break
        if is_batch:
            work += work_of_item(item) + (len(item.data) // BYTES_OF_WORK if type(item) is Draft else 0)
        if type(item) is not Draft:
            results.append(place_other(plan, principal, item))
            continue
        try:
            try:
                told, replayed = item if item.span is None else placed_span(plan, principal.org, item, traces), False
                if item.natural_key is not None:
                    told, replayed = happens_once(plan, principal, items, index, told)
                result = _place(plan, principal, told, dialect, agent, targets, replayed)
                if item.otherwise is not None and type(result) is Refusal and result.code == IdReused.code:
                    told = placed_span(plan, principal.org, item.otherwise, traces, item.event_id)
                    result = _place(plan, principal, told, dialect, agent, targets, replayed)
                if type(result) is Refusal:
                    work += WORK_OF_REFUSED
                elif type(result) is Stored and result.duplicate and not result.late:
                    note_repeat(plan, principal.org, told.run, result, by=dialect)
                results.append(result)
            except Damaged as error:
                # What it may be a repeat of cannot be read, and so it cannot be told from news.
                results.append(Refusal(error.code, error.message))
            if plan.postponed:
                yield from finish(plan)
        except Exception as error:
            if not missing.pass_over(error):
                if isinstance(error, ContentGone):
                    raise PlanFull(results, lacks_content=True) from None
                raise
            if missing.is_enough:
                plan.known.take_only(items, index + 1)
                break
    if missing:
        raise missing.as_one()
    if len(results) < len(items):
        raise PlanFull(results)
    return results


def _items_at_once(cache: Cache, org: int) -> int:
    is_governed = cache.prices.get(org) or cache.budgets.get(org) or cache.alert_rules.get(org)
    return 1 if is_governed else ITEMS_AT_ONCE


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
        target = targets[id(ref)] = _target_of(plan, org, ref)
    run_state = target.run_state
    if draft.inside is not None and run_state is not None and is_of_agent(run_state.row):
        draft = _replace(draft, type=EventType.OTHER, facts=draft.inside, natural_key=None, agent=None, inside=None)
        natural_key, effects = None, draft.facts.effects
    plain = is_plain(draft.type, effects)
    if run_state is None or not plain or run_state.row.status in TERMINAL:
        targets.clear()  # what a reference means may change: a run may begin or end
    if target.has_others and event_id is not None and type(ref) is OpenRun:
        run_state = run_of_repeat(plan, principal, ref.thread_id, draft) or run_state
    if type(ref) is OpenRun and not plain:
        run_state = run_that_ends(plan, run_state, draft)
    if (run_state is None or not plain) and (refused := refused_of(plan, org, draft, run_state)) is not None:
        return refused
    if effects is not None or draft.history is not None:
        draft = completed(plan, org, draft)
    if run_state is not None:
        if run_state.row.resumed_from is not None:
            draft, run_state = in_its_life(plan, draft, run_state)
        may_repeat, known = natural_key is not None, run_state.known_ids
        if event_id is not None and not may_repeat:
            may_repeat = known is None or event_id in run_state.ids or hash(event_id) in known
        if run_state.row.has_lane:
            may_repeat = target.may_have_own(plan, principal, run_state, event_id) or may_repeat
        if may_repeat and (seen := told_before(plan, principal, run_state, draft, replayed)) is not None:
            return seen
    if run_state is not None and run_state.row.status in TERMINAL and starts_new_run(run_state.row, draft):
        draft, run_state = resuming(draft, run_state.row), None
    kept_id, row = event_id, None if run_state is None else run_state.row
    if natural_key is not None or (row is not None and row.has_lane and target.keeps_own):
        kept_id = kept_under(plan, principal, run_state, draft)
    # What is plain changes nothing of a run that is the caller's.
    if row is not None and row.has_lane and (target.is_others or not plain):
        draft = as_told_by(plan, principal, row, draft, draft.agent if agent is None else agent.name)
    if run_state is not None and not plain:
        if (refused := one_too_many(run_state, draft)) is not None:
            return refused
        if withdraws_nothing(run_state.row, draft):
            draft = as_other(draft)
    if agent is None:
        agent = plan.agent(org, draft.agent or (run_state and run_state.row.agent) or draft.agent_default)
    if draft.facts.effects is not None and draft.facts.effects.checkpoint is not None:
        found = placed_state(plan, run_state, draft, agent, kept_id)
        if isinstance(found, Stored):
            return found
        draft, run_state, kept_id = found
    return _store(plan, principal, draft, dialect, run_state, agent, kept_id)


def is_of_agent(row: RunRow) -> bool:
    """Whether an agent started this run, and not a workflow or a team."""
    return not row.implicit and not row.composite


def _store(
    plan: Plan,
    principal: Principal,
    draft: Draft,
    dialect: str,
    run_state: RunState | None,
    agent: AgentRow,
    event_id: str | None,
) -> Stored:
    data, unused = draft.data, tuple[tuple[str, str], ...]()
    row_before = None if run_state is None else run_state.row
    if draft.facts.effects is not None:
        draft, unused = with_parent(plan, principal.org, row_before, draft)
        unused += unused_of(plan, principal.org, row_before, draft)
    ref = draft.run
    if row_before is not None and type(ref) is RunByForeignId and ref.thread_id != row_before.thread_id:
        draft, stays = in_named_thread(plan, row_before, draft)
        unused += stays
    is_known = run_state is not None and not draft.part
    facts = draft.facts if is_known else named_or_assumed(draft, row_before, agent.name)
    if run_state is None:
        origin = origin_of(plan, principal, draft, dialect)
        run_state = plan.begin_run(principal.org, origin, draft.type)
        plan.name_run(principal.org, draft.run, run_state.row.run)
        if draft.span is not None:
            plan.trace_runs.setdefault((principal.org, draft.span.trace), []).append(run_state.row.run)
        facts = with_effects(facts, origin=origin)
    elif facts.effects is not None and reports_an_end(draft):
        facts = _timed_end(run_state.row, draft, facts, plan.now_ms)
    # What has no effects says nothing new of a run that somebody reports: that is most of all events.
    reporter_key = run_state.row.reporter_key
    if (facts.effects is not None or reporter_key is None) and makes_reporter(run_state.row, draft):
        reporter_key = principal.key_id
        facts = with_effects(facts, reporter_key=reporter_key)
    if facts.client_id is not None:
        facts = numbered(plan, principal, run_state, facts, reporter_key)
    if facts.effects is not None and tells_process_cost(draft, run_state.row):
        facts = of_process(plan, principal, run_state.row, facts, agent.name)
    if draft.type in TOOL_TYPES:
        facts, data = paired(run_state, draft, facts, data, plan.now_ms)
    elif run_state.open_tools and facts.ends is not None and facts.duration_ms is None and not facts.by_other:
        facts = _step_timed(run_state, facts, draft.occurred_at, plan.now_ms)
    elif draft.type in QUESTION_TYPES:
        facts, data = with_question(run_state, draft.type, facts, data)
    if facts.effects is not None:
        correct_earlier(plan, run_state, agent, draft.span, facts)
    event = plan.append(
        run_state, agent, draft.type, data,
        dialect=dialect, facts=facts, occurred_at=draft.occurred_at, event_id=event_id, told=draft,
    )  # fmt: skip
    if event_id is not None and draft.span is not None and draft.span.response == event_id:
        plan.responses[principal.org, event_id] = event
    row = run_state.row
    told = commands_with(row, draft) if event.late else row.pending
    return Stored(event.position, event.seq, row.run_id, agent.name, False, event.late, told, facts.foreign, unused)


def _timed_end(row: RunRow, draft: Draft, facts: Facts, now: int) -> Facts:
    """The facts of a run's end, with how long the run took."""
    start, end = row.span_to(now, told_time(draft.occurred_at, now))
    return _replace(facts, duration_ms=end - (row.created_at if start is None else start))


def paired(run_state: RunState, draft: Draft, facts: Facts, data: bytes, now: int) -> tuple[Facts, bytes]:
    """A tool call's and its result's shared id: the sender's, else one made here. And of a result how long the call
    took, where its sender has not told that and it is known which call it belongs to."""
    call, call_id = None, facts.tool_call_id
    # What another key tells belongs to none of the run's own calls.
    if run_state.open_tools and draft.type is _TOOL_RESULT and not facts.by_other:
        call = _called(run_state.open_tools, facts)
        if call is not None and facts.duration_ms is None and (call_id is not None or not call.overlaps):
            took = _took(call, draft.occurred_at, now)
            facts = facts if took is None else _replace(facts, duration_ms=took)
    if call_id is not None:
        return facts, data
    call_id = f"call-{run_state.seq + 1}" if call is None else call.call_id
    if b'"tool_call_id"' not in data:
        head = b'{"tool_call_id":' + msgspec.json.encode(call_id)
        rest = data[1:].lstrip()
        data = head + (b"" if rest.startswith(b"}") else b",") + rest
    return _replace(facts, tool_call_id=call_id), data


def _step_timed(run_state: RunState, facts: Facts, occurred_at: int | None, now: int) -> Facts:
    """The facts of a step's end, with how long it took where its beginning is known; two of one name are a guess."""
    key = step_key(facts.ends or "")
    step = next((call for call in reversed(run_state.open_tools) if call.call_id == key), None)
    took = None if step is None or step.overlaps else _took(step, occurred_at, now)
    return facts if took is None else _replace(facts, duration_ms=took)


def _took(call: OpenTool, occurred_at: int | None, now: int) -> int | None:
    """How many ms a call took whose result comes now: by its sender's clock where that told both ends, else as they
    arrived.

    None where nothing was measured: the clock was set back in between, or both ends came with the same commit.
    """
    if call.told_at is not None and occurred_at is not None:
        told_at = told_time(occurred_at, now)
        if told_at is not None:
            return told_at - call.told_at if told_at >= call.told_at else None
    return now - call.called_at if now > call.called_at else None


def _called(open_tools: tuple[OpenTool, ...], facts: Facts) -> OpenTool | None:
    """The open call that a result belongs to: by its id; without one the newest of its tool, since the result of an
    older one may have been lost."""
    if facts.tool_call_id is not None:
        is_long = len(facts.tool_call_id) > MAX_OPEN_ID_CHARS
        call_id = long_call_id(facts.tool_call_id) if is_long else facts.tool_call_id
        return next((call for call in reversed(open_tools) if call.call_id == call_id), None)
    tool = facts.tool or ""
    # A long id stands there by its digest, which is nobody's id.
    return next((call for call in reversed(open_tools) if call.tool == tool and call.call_id[:1] != LONG_ID), None)
