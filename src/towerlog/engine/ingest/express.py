"""The short way for plain events: they move nothing but their run's place in the log, and add one to two counters.

Most events are plain (steps, deltas, reports, foreign ones); those of tools also open or close a call. What is done
here is exactly what `ingest` and `plan` do for them, without the questions that cannot concern them; whatever is not
plain is left to those.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.commit.plan import Plan, encode_facts
from towerlog.model.agent import AgentRow
from towerlog.model.chain import link
from towerlog.model.event import PLAIN_TYPES, TOOL_TYPES, Draft, Event, EventType, Item, OpenRun
from towerlog.model.facts import NO_FACTS, Facts
from towerlog.model.outcome import Stored
from towerlog.model.run import TERMINAL, RunRow
from towerlog.model.times import FUTURE_TOLERANCE_MS
from towerlog.projections.runs import (
    fold_plain,
    names_agent,
    number_changes,
    open_tools,
)
from towerlog.store.values import RunChange

_replace = msgspec.structs.replace


def append_plain(plan: Plan, org: int, item: Item, dialect: str, agent: AgentRow | None) -> Stored | None:
    """Stores a plain event of a known, open run; None for anything else, with nothing changed."""
    if type(item) is not Draft or item.type not in PLAIN_TYPES or item.natural_key is not None:
        return None
    row = plan.run_cached(org, item.run)
    if row is None or row.status in TERMINAL or _may_be_of_another_run(plan, org, item):
        return None
    if agent is None:
        agent = plan.cache.agents.get((org, item.agent or row.agent or item.agent_default))
    facts, data = item.facts, item.data
    if facts.effects is not None:
        return None
    counters = plan.changes.counters.get(org)
    if agent is None or counters is None or names_agent(row, agent.name):
        return None
    if item.event_id is not None and not plan.is_new_id(row.run, item.event_id):
        return None
    is_tool = item.type in TOOL_TYPES
    if is_tool:
        facts, data = paired(row, item.type, facts, data)
    counters.position += 1
    now, occurred_at = plan.now, item.occurred_at
    future = occurred_at is not None and occurred_at > now + FUTURE_TOLERANCE_MS
    facts_json = b"" if facts is NO_FACTS else encode_facts(facts)
    place = (org, counters.position, row.run, row.last_seq + 1, now)
    marks = (occurred_at, agent.agent, False, future)
    digest = link(row.last_hash, place, item.type, marks, dialect, item.event_id, facts_json, data)
    event = Event(
        *place[:4],
        item.type,
        now,
        data,
        facts,
        facts_json,
        dialect,
        occurred_at,
        item.event_id,
        agent.agent,
        False,
        future,
        digest,
    )
    after = fold_plain(row, event)
    if is_tool:
        after = _replace(after, open_tools=open_tools(row, event))
    if facts.client_id is not None:
        after = _replace(after, **number_changes(row, event))
    changes = plan.changes
    changes.events.append(event)
    plan.cache.runs[row.run] = after
    change = changes.runs.get(row.run)
    if change is None:
        changes.runs[row.run] = RunChange(row, after)
    else:
        change.after = after
    if item.event_id is not None:
        plan.note_id(event)
    plan.tally(agent, row.model, row.status)
    return Stored(event.position, event.seq, row.run_id, agent.name, False, False, row.pending)


def _may_be_of_another_run(plan: Plan, org: int, draft: Draft) -> bool:
    """A repeat for "the thread's open run" may belong to a run before the one that is open now."""
    ref = draft.run
    if draft.event_id is None or type(ref) is not OpenRun:
        return False
    thread = plan.cache.threads.get((org, ref.thread_id))
    return thread is None or thread.run_count > 1


def paired(row: RunRow | None, kind: EventType, facts: Facts, data: bytes) -> tuple[Facts, bytes]:
    """A tool call's and its result's shared id: the sender's, else one made here."""
    if facts.tool_call_id is not None:
        return facts, data
    call_id = f"call-{1 if row is None else row.last_seq + 1}"
    if kind is EventType.TOOL_RESULT and row is not None:
        call_id = next((known for tool, known in row.open_tools if tool == (facts.tool or "")), call_id)
    if b'"tool_call_id"' not in data:
        head = b'{"tool_call_id":' + msgspec.json.encode(call_id)
        rest = data[1:].lstrip()
        data = head + (b"" if rest.startswith(b"}") else b",") + rest
    return _replace(NO_FACTS if facts is NO_FACTS else facts, tool_call_id=call_id), data
