"""The short way for plain events: they move nothing but their run's place in the log, and add one to two counters.

Most events are plain (steps, deltas, reports, foreign ones). What is done here is exactly what `ingest` and `plan` do
for them, without the questions that cannot concern them; whatever is not plain is left to those.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.plan import Plan, encode_facts
from towerlog.model.chain import chain_hash
from towerlog.model.event import NO_FACTS, Draft, Event, Item
from towerlog.model.outcome import Stored
from towerlog.model.run import TERMINAL, AgentRow
from towerlog.model.times import FUTURE_TOLERANCE_MS
from towerlog.projections.runs import PLAIN_TYPES, fold_plain, moves_nothing, names_agent
from towerlog.store.values import RunChange

_replace = msgspec.structs.replace


def append_plain(plan: Plan, org: int, item: Item, dialect: str, agent: AgentRow | None) -> Stored | None:
    """Stores a plain event of a known, open run; None for anything else, with nothing changed."""
    if type(item) is not Draft or item.type not in PLAIN_TYPES or item.natural_key is not None:
        return None
    row = plan.run_cached(org, item.run)
    if row is None or row.status in TERMINAL:
        return None
    if agent is None:
        agent = plan.cache.agents.get((org, item.agent or row.agent or item.agent_default))
    facts_json = b""
    if item.facts is not NO_FACTS:
        if not moves_nothing(item.facts):
            return None
        facts_json = encode_facts(item.facts)
    counters = plan.changes.counters.get(org)
    if agent is None or counters is None or names_agent(row, agent.name):
        return None
    if item.event_id is not None and not plan.is_new_id(row.run, item.event_id):
        return None
    counters.position += 1
    occurred_at = item.occurred_at
    event = Event(
        org,
        counters.position,
        row.run,
        row.last_seq + 1,
        item.type,
        plan.now,
        item.data,
        item.facts,
        facts_json,
        dialect,
        occurred_at,
        item.event_id,
        agent.agent,
        False,
        occurred_at is not None and occurred_at > plan.now + FUTURE_TOLERANCE_MS,
    )
    event = _replace(event, hash=chain_hash(row.last_hash, event))
    after = fold_plain(row, event)
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
