"""Spans of a trace that come in several requests: each is stored once, in the run that it belongs to, and counts once.

A request knows its own spans. What came before is looked up in the runs of the trace: the span itself, which may stand
in another run than this request would put it in; its parent; and, in `calls`, what counts of model calls above and
below it.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.ingest.calls import TraceLook, counted, needs_of_calls, needs_of_response
from towerlog.engine.load.rows import Known, Needs
from towerlog.engine.load.span_ways import spans_of
from towerlog.engine.plan.plan import Plan
from towerlog.engine.plan.run_state import RunState
from towerlog.model.event import Draft, EventType, RunByForeignId
from towerlog.model.facts import with_effects
from towerlog.model.run import PARENT_FOREIGN
from towerlog.model.span import SpanPlace
from towerlog.store.values import Kind

MAX_TRACE_RUNS = 64
"""Runs of one trace in which a span is looked for: that of the trace itself, and the newest."""
_replace = msgspec.structs.replace
# By a name of its own: on Python 3.11 a member reached through its enum costs as much as a small struct.
_MODEL_CALL = EventType.MODEL_CALL


class Traces(msgspec.Struct, eq=False):
    """The traces of one request while its spans are placed."""

    plan: Plan
    org: int
    refs: dict[RunByForeignId, RunByForeignId] = {}
    """References that were made here: equal ones are one, and live as long as the request is placed."""
    states: dict[str, tuple[int, list[RunState]]] = {}
    """Of traces that were looked up: how many of their runs have begun in this group, and those that are looked at, the
    newest last."""
    looks: dict[str, TraceLook] = {}
    """By trace: where its spans and calls are found."""

    def look(self, trace: str, runs: list[RunState]) -> TraceLook:
        """Where spans and calls of a trace are found, as this group has left them."""
        found = self.looks.get(trace)
        if found is None:
            found = self.looks[trace] = TraceLook(self.plan, self.org, trace)
        found.rows = [state.row for state in runs]
        return found

    def runs(self, trace: str) -> list[RunState]:
        """The runs of a trace in which spans are looked for, as this group has left them. Raises NotLoaded."""
        plan, key = self.plan, (self.org, trace)
        begun = plan.trace_runs.get(key, ())
        known = self.states.get(trace)
        if known is not None and known[0] == len(begun):
            return known[1]
        count, states = known or (0, [])
        stored = _stored(plan.known, *key) if known is None else ()
        numbers = (*sorted(stored), *(one for one in begun[count:] if one not in stored))
        states += [found for number in numbers if (found := plan.run_state_of(number)) is not None]
        is_head = [state.row.foreign_id == trace for state in states[:-MAX_TRACE_RUNS]]
        states = [*(one for one, wanted in zip(states, is_head, strict=False) if wanted), *states[-MAX_TRACE_RUNS:]]
        self.states[trace] = len(begun), states
        return states


def _stored(known: Known, org: int, trace: str) -> tuple[int, ...]:
    """The numbers of the runs that the store has of a trace. Raises NotLoaded."""
    found = known.cache.traces.get((org, trace))
    if found is None:
        found = tuple(row.run for row in known.get(Kind.TRACE_RUNS, (org, trace, MAX_TRACE_RUNS)))
    return found


def needs_of_span(needs: Needs, org: int, draft: Draft) -> None:
    """The runs of its trace; what these have under its id, and under those of the spans that say in which it stands."""
    place = draft.span
    if place is None:
        return
    numbers = needs.cache.traces.get((org, place.trace))
    if numbers is None:
        rows_found = needs.want(Kind.TRACE_RUNS, (org, place.trace, MAX_TRACE_RUNS)) or ()
        numbers = tuple(row.run for row in rows_found)
    needs_of_response(needs, org, place)
    if not numbers:
        return
    spans_of(needs.known, org, place.trace).told[place.span_id] = draft.facts.parent_span_id
    ids = [draft.event_id] if draft.event_id is not None else []
    if draft.otherwise is not None and draft.otherwise.event_id is not None:
        ids.append(draft.otherwise.event_id)
    if place.parent_root is not None:
        ids.append(_start_of(place.trace, place.parent_root))
    if place.root is not None:
        ids.append(_start_of(place.trace, place.root))
    elif place.hangs is not None:
        ids += (place.hangs, f"{place.hangs}.start")
    needs.looked_up += len(numbers) * len(ids)
    for number in numbers:
        for one in ids:
            needs.event_id(number, one)
    rows = [row for number in numbers if (row := needs.run_by_number(number)) is not None]
    if len(rows) == len(numbers):
        needs_of_calls(needs, place, rows)


def placed_span(plan: Plan, org: int, draft: Draft, traces: Traces, twin: str | None = None) -> Draft:
    """The draft of a span, in the run that it belongs to and with what counts of its figures. `twin`: the id of the
    event of another span that tells of the same response."""
    place, event_id = draft.span, draft.event_id
    if place is None:
        return draft
    runs = traces.runs(place.trace)
    if event_id is not None:
        for state in runs:
            if state.may_have(event_id) and plan.event_by_id(state.row.run, event_id) is not None:
                return _in_run(draft, state.row.foreign_id or place.trace, traces)
    if draft.facts.effects is not None and draft.facts.effects.parent_key is not None:
        draft = _with_parent(plan, draft, place, runs)
    if place.root is not None:
        draft = _in_run(draft, _name_of_root(plan, place.trace, place.root, runs), traces)
    elif place.hangs is not None and not draft.effects.is_start and _is_of_trace(draft, place):
        draft = _in_run(draft, _name_of_context(plan, place, runs), traces)
    if len(runs) > 1:
        draft = _in_own_run(draft, place, runs, traces)
    if draft.type is not _MODEL_CALL and twin is None and not _are_compared(runs):
        return draft  # as with nearly all spans
    return counted(plan, org, draft, place, traces.look(place.trace, runs), twin)


def _are_compared(runs: list[RunState]) -> bool:
    """Whether something counts below spans of theirs that have not come, or did before it was forgotten."""
    for state in runs:
        calls = state.row.calls
        if calls.below or calls.gone:
            return True
    return False


def _has(plan: Plan, state: RunState, event_id: str) -> bool:
    return state.may_have(event_id) and plan.event_by_id(state.row.run, event_id) is not None


def _is_of_trace(draft: Draft, place: SpanPlace) -> bool:
    """Whether its request has no span that begins its run."""
    return isinstance(draft.run, RunByForeignId) and draft.run.foreign_id == place.trace


def _thread(draft: Draft) -> tuple[str, bool]:
    ref = draft.run
    return (ref.thread_id, ref.names_thread) if isinstance(ref, RunByForeignId) else ("", True)


def _in_run(draft: Draft, name: str, traces: Traces) -> Draft:
    if isinstance(draft.run, RunByForeignId) and draft.run.foreign_id == name:
        return draft
    ref = RunByForeignId(name, *_thread(draft))
    return _replace(draft, run=traces.refs.setdefault(ref, ref))


def _name_of_root(plan: Plan, trace: str, root: str, runs: list[RunState]) -> str:
    """What the run of a root is called: the first of a trace begins the run of the trace, which may be there already
    since children came before it."""
    start = _start_of(trace, root)
    head = None
    for state in runs:
        row = state.row
        if row.foreign_id == root or _has(plan, state, start):
            return row.foreign_id or root
        if row.foreign_id == trace:
            head = row
    return trace if head is None or head.implicit else root


def _start_of(trace: str, root: str) -> str:
    """The id of the event with which the run of a root begins."""
    return f"{root[len(trace) + 1 :]}.start"


def _name_of_context(plan: Plan, place: SpanPlace, runs: list[RunState]) -> str:
    """What the run of a span is called whose parent is not in its request: that of the parent, if it has come.

    What began after the run of the trace had ended is of another root, which comes later: it stands in the run that its
    parent would begin.
    """
    own, hangs, start = f"{place.trace}:{place.hangs}", f"{place.hangs}", f"{place.hangs}.start"
    head = None
    for state in runs:
        row = state.row
        if row.foreign_id == own or _has(plan, state, hangs) or _has(plan, state, start):
            return row.foreign_id or place.trace
        if row.foreign_id == place.trace:
            head = row
    ended_at = None if head is None or not head.is_terminal() else head.end_told_at
    is_later = ended_at is not None and place.began_ms is not None and place.began_ms >= ended_at
    return own if is_later else place.trace


def _in_own_run(draft: Draft, place: SpanPlace, runs: list[RunState], traces: Traces) -> Draft:
    """A span that begins no run and whose children came first, in a run of their own: it tells what is above that."""
    own = f"{place.trace}:{place.span_id}"
    row = None
    for state in runs:
        if state.row.foreign_id == own:
            row = state.row
    above = getattr(draft.run, "foreign_id", own)
    if row is None or above == own:
        return draft
    draft = _in_run(draft, own, traces)
    if row.parent_key is not None:
        return draft
    return _replace(draft, facts=with_effects(draft.facts, parent_key=PARENT_FOREIGN + above))


def _with_parent(plan: Plan, draft: Draft, place: SpanPlace, runs: list[RunState]) -> Draft:
    """The start of a child run, with the run above it as that is called here."""
    name = None
    if place.parent_root is not None:
        name = _name_of_root(plan, place.trace, place.parent_root, runs)
    elif place.hangs is not None:
        name = _name_of_context(plan, place, runs)
    if name is None:
        return draft
    return _replace(draft, facts=with_effects(draft.facts, parent_key=PARENT_FOREIGN + name))
