"""Spans of a trace that come in several requests: each is stored once, in the run that it belongs to, and counts once.

A request knows its own spans. What came before is looked up in the runs of the trace: the span itself, which may stand
in another run than this request would put it in; its parent; and, in `calls`, what counts of model calls above and
below it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from towerlog.engine.ingest.calls import counted, needs_of_calls
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Draft, Event, RunByForeignId
from towerlog.model.facts import with_effects
from towerlog.model.run import PARENT_FOREIGN, RunRow
from towerlog.model.span import SpanPlace
from towerlog.store.values import Kind

MAX_TRACE_RUNS = 256
"""Runs of one trace in which a span is looked for, the newest."""
Refs = dict[RunByForeignId, RunByForeignId]
"""References of a request that were made here: equal ones are one, and live as long as it is placed."""
_replace = msgspec.structs.replace


def needs_of_span(needs: Needs, org: int, draft: Draft) -> None:
    """The runs of its trace, and what these have under its ids."""
    if draft.span is None:
        return
    rows = needs.want(Kind.TRACE_RUNS, (org, draft.span.trace, MAX_TRACE_RUNS)) or ()
    for row in rows:
        for event_id in _ids(draft):
            needs.event_id(row.run, event_id)
    if rows:
        needs_of_calls(needs, draft.span, rows)


def placed_span(plan: Plan, org: int, draft: Draft, refs: Refs, twin: str | None = None) -> Draft:
    """The draft of a span, in the run that it belongs to and with what counts of its figures. `twin`: the id of the
    event of another span that tells of the same response."""
    place = draft.span
    if place is None:
        return draft
    runs = list(_runs(plan, org, place.trace))
    seen = next((row for row in runs if any(_has(plan, row, one) for one in _ids(draft))), None)
    if seen is not None:
        return _in_run(draft, seen.foreign_id or place.trace, refs)
    draft = _with_parent(plan, draft, place, runs)
    if place.root is not None:
        draft = _in_run(draft, _name_of_root(plan, place.trace, place.root, runs), refs)
    elif place.hangs is not None and not draft.effects.is_start and _is_of_trace(draft):
        draft = _in_run(draft, _name_of_context(plan, place, runs), refs)
    draft = _in_own_run(draft, place, runs, refs)
    return counted(plan, org, draft, place, runs, twin)


def _runs(plan: Plan, org: int, trace: str) -> Iterator[RunRow]:
    """The runs of a trace, as this group has left them."""
    stored = {row.run for row in plan.loaded(Kind.TRACE_RUNS, (org, trace, MAX_TRACE_RUNS))}
    for number in (*stored, *(one for one in plan.trace_runs.get((org, trace), ()) if one not in stored)):
        found = plan.run_state_of(number)
        if found is not None:
            yield found.row


def _ids(draft: Draft) -> Iterator[str]:
    """What it may be stored under."""
    if draft.event_id is not None:
        yield draft.event_id


def _has(plan: Plan, row: RunRow, event_id: str) -> Event | None:
    return plan.event_by_id(row.run, event_id)


def _is_of_trace(draft: Draft) -> bool:
    """Whether its request has no span that begins its run."""
    return draft.span is not None and draft.run == RunByForeignId(draft.span.trace, *_thread(draft))


def _thread(draft: Draft) -> tuple[str, bool]:
    ref = draft.run
    return (ref.thread_id, ref.names_thread) if isinstance(ref, RunByForeignId) else ("", True)


def _in_run(draft: Draft, name: str, refs: Refs) -> Draft:
    ref = RunByForeignId(name, *_thread(draft))
    return draft if draft.run == ref else _replace(draft, run=refs.setdefault(ref, ref))


def _name_of_root(plan: Plan, trace: str, root: str, runs: list[RunRow]) -> str:
    """What the run of a root is called: the first of a trace begins the run of the trace, which may be there already
    since children came before it."""
    start = f"{root.removeprefix(trace + ':')}.start"
    for row in runs:
        if row.foreign_id == root or _has(plan, row, start) is not None:
            return row.foreign_id or root
    head = next((row for row in runs if row.foreign_id == trace), None)
    return trace if head is None or head.implicit else root


def _name_of_context(plan: Plan, place: SpanPlace, runs: list[RunRow]) -> str:
    """What the run of a span is called whose parent is not in its request: that of the parent, if it has come.

    What began after the run of the trace had ended is of another root, which comes later: it stands in the run that its
    parent would begin.
    """
    own = f"{place.trace}:{place.hangs}"
    ids = (f"{place.hangs}", f"{place.hangs}.start")
    found = (row for row in runs if row.foreign_id == own or any(_has(plan, row, one) for one in ids))
    known = next((row.foreign_id or place.trace for row in found), None)
    head = next((row for row in runs if row.foreign_id == place.trace), None)
    ended_at = None if head is None or not head.is_terminal() else head.end_told_at
    is_later = ended_at is not None and place.began_ms is not None and place.began_ms >= ended_at
    return known or (own if is_later else place.trace)


def _in_own_run(draft: Draft, place: SpanPlace, runs: list[RunRow], refs: Refs) -> Draft:
    """A span that begins no run and whose children came first, in a run of their own: it tells what is above that."""
    own = f"{place.trace}:{place.span_id}"
    row = next((row for row in runs if row.foreign_id == own), None)
    above = getattr(draft.run, "foreign_id", own)
    if row is None or above == own:
        return draft
    draft = _in_run(draft, own, refs)
    if row.parent_key is not None:
        return draft
    return _replace(draft, facts=with_effects(draft.facts, parent_key=PARENT_FOREIGN + above))


def _with_parent(plan: Plan, draft: Draft, place: SpanPlace, runs: list[RunRow]) -> Draft:
    """The start of a child run, with the run above it as that is called here."""
    if draft.effects.parent_key is None:
        return draft
    name = None
    if place.parent_root is not None:
        name = _name_of_root(plan, place.trace, place.parent_root, runs)
    elif place.hangs is not None:
        name = _name_of_context(plan, place, runs)
    if name is None:
        return draft
    return _replace(draft, facts=with_effects(draft.facts, parent_key=PARENT_FOREIGN + name))
