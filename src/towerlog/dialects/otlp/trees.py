"""The spans of a request as trees: which run each belongs to, whose it is, and whose figures count.

Spans come as they end, children before their parents. What a request has of a trace is looked at together; what came
before is found by the engine, by what is said here of each span's place.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from towerlog.dialects.otlp import lookups, names
from towerlog.dialects.otlp.figures import usage as figures
from towerlog.dialects.otlp.figures.accounts import lent_ids
from towerlog.dialects.otlp.names import Kind
from towerlog.dialects.otlp.spans import ToldSpan
from towerlog.dialects.otlp.values import NANOS_PER_MS
from towerlog.model.event import RunByForeignId
from towerlog.model.run import PARENT_FOREIGN
from towerlog.model.span import SpanPlace
from towerlog.model.usage import NO_USAGE, Usage

NAME = "otlp"
SESSION = "session"
"""In the name of a run: what stands before a session that has no trace."""


class SpanNode(msgspec.Struct, eq=False):
    """A span in its tree."""

    span: ToldSpan
    kind: Kind
    is_root: bool
    """Of its span."""
    begins_run: bool
    """Whether a run begins and ends with this span: its trace's, or that of an agent in it."""
    above: SpanNode | None = None
    """Its parent, if the request has it."""
    begun_above: SpanNode | None = None
    """The span above it that begins the run it belongs to, where it does not do so itself."""
    usage: Usage = NO_USAGE
    response_id: str | None = None
    is_lent: bool = False
    """Its id is that of another account of the call, and it names none."""
    counts: bool = False
    """A model call that is one: no other span of the request tells more of the same response."""
    has_figures: bool = False
    """A model call that tells any."""
    told_at: int = 0
    """When it is told of in the log: spans of one response together, the one that counts first."""
    call: str | None = None
    """The nearest model call with figures above it; else the parent of the topmost span at or above it."""
    hangs: str | None = None
    """The parent of the topmost span at or above it, which is not in the request; None for what is below a root."""
    first: int = 0
    """When the first span of the run began that it begins."""
    is_placed: bool = False
    is_joined: bool = False

    @property
    def begins(self) -> SpanNode | None:
        """The span at or above it that begins the run it belongs to; None: the run of its trace, whose root is not
        here."""
        # Not a member: one that held itself would stay, with its span, until the collector comes.
        return self if self.begins_run else self.begun_above


class Trace(msgspec.Struct, eq=False):
    """What a request has of a trace."""

    trace_id: str
    name: str
    """The foreign id of its run."""
    nodes: list[SpanNode] = []
    by_id: dict[str, SpanNode] = {}
    thread_id: str | None = None
    first_root: SpanNode | None = None
    """Of several the one that began first: the run of the trace is its own, if none has begun before."""
    runs: dict[str, RunByForeignId] = {}
    """By the id of the span that begins it, empty for that of the trace: drafts of one run share its reference."""

    def run_of(self, node: SpanNode) -> RunByForeignId:
        """The run that a span belongs to."""
        return self._run(node.begins)

    def parent_key(self, node: SpanNode) -> str | None:
        """The run above the one that a span begins; None for a root."""
        if node.is_root:
            return None
        return PARENT_FOREIGN + self._run(None if node.above is None else node.above.begins).foreign_id

    def place_of(self, node: SpanNode) -> SpanPlace:
        """Where a span stands in its trace."""
        begins, above, span = node.begins, None, node.span
        if begins is node and not node.is_root and node.above is not None:
            above = node.above.begins  # of a child run
        return SpanPlace(
            self.name,
            span.span_id,
            None if begins is None else self._root(begins),
            node.hangs,
            node.call,
            node.has_figures,
            span.start // NANOS_PER_MS or None,
            None if above is None else self._root(above),
        )

    def _root(self, begins: SpanNode) -> str | None:
        return f"{self.name}:{begins.span.span_id}" if begins.is_root else None

    def _run(self, begins: SpanNode | None) -> RunByForeignId:
        own = "" if begins is None or begins is self.first_root else begins.span.span_id
        found = self.runs.get(own)
        if found is None:
            foreign_id = f"{self.name}:{own}" if own else self.name
            thread_id = self.thread_id or self.trace_id
            found = self.runs[own] = RunByForeignId(foreign_id, thread_id, self.thread_id is not None)
        return found

    def agent_of(self, node: SpanNode) -> str | None:
        """Whose a span is: as it says itself, else as the span says that begins its run."""
        begins = node.begins
        told = lookups.agent_of(node.span, node.kind, begins_run=node is begins)
        if told is None and begins is not None and begins is not node:
            told = lookups.agent_of(begins.span, begins.kind, begins_run=True)
        return told


def traces_of(spans: Iterable[ToldSpan]) -> dict[str, Trace]:
    """The traces of a request, by their ids."""
    traces: dict[str, Trace] = {}
    for span in spans:
        trace = traces.get(span.trace_id)
        if trace is None:
            trace = traces[span.trace_id] = Trace(span.trace_id, f"{NAME}:{span.trace_id}")
        kind, is_root = lookups.kind_of(span.attributes, span.present), span.is_root
        node = SpanNode(span, kind, is_root, is_root or kind == names.AGENT)
        trace.nodes.append(node)
        trace.by_id[span.span_id] = node
    calls = [node for trace in traces.values() for node in trace.nodes if node.kind == names.MODEL]
    for node in calls:
        node.usage = figures.usage_of(node.span)
        node.has_figures = node.usage != NO_USAGE
        node.response_id = lookups.response_id_of(node.span)
    for node, response_id in lent_ids(node for node in calls if node.has_figures):
        node.response_id, node.is_lent = response_id, True
    for trace in traces.values():
        _join(trace)
    return traces


def _join(trace: Trace) -> None:
    nodes, by_id = trace.nodes, trace.by_id
    for node in nodes:
        if node.span.parent_id:
            node.above = by_id.get(node.span.parent_id)
    for node in nodes:
        _place(node)
    roots, told = list[SpanNode](), list[SpanNode]()
    for node in nodes:
        begins, start = node.begins, node.span.start
        if begins is not None and start:
            begins.first = min(begins.first or start, start)
        if node.is_root:
            roots.append(node)
        if node.span.present.thread:
            told.append(node)
    trace.first_root = min(roots, key=_start, default=None)
    # By their beginnings, so that what is above comes first.
    threads = (lookups.thread_of(node.span) for node in sorted(told, key=_start))
    trace.thread_id = next((thread for thread in threads if thread is not None), None) if told else None
    _count(trace)
    for node in nodes:
        _find_call(node)


def _start(node: SpanNode) -> int:
    return node.span.start


def _place(node: SpanNode) -> None:
    """Finds the span that begins its run, for it and for all on the way up. A circle leads to the run of the trace."""
    if node.begins_run or node.above is None:  # as most do that are told before their root
        node.is_placed = True
        return
    way: list[SpanNode] = []
    at: SpanNode | None = node
    while at is not None and not at.is_placed:
        at.is_placed = True
        way.append(at)
        if at.begins_run:
            break
        at = at.above
    begins = None if at is None else at.begins
    for below in way:
        below.begun_above = None if below is begins else begins


def _count(trace: Trace) -> None:
    """Which model calls count, once for each response; and which stand above which."""
    calls = [node for node in trace.nodes if node.kind == names.MODEL]
    if not calls:
        return
    told: dict[str, SpanNode] = {}
    ended: dict[str, list[int]] = {}
    for node in calls:
        other = node if node.response_id is None else told.setdefault(node.response_id, node)
        if other is not node and _known(node.usage) > _known(other.usage):
            told[node.response_id or ""] = node
            other.counts, other = False, node
        node.counts = other is node
        ended.setdefault(node.response_id or "", []).append(node.span.end)
    for node in calls:
        node.told_at = node.span.end if node.response_id is None else min(ended[node.response_id])


def _find_call(node: SpanNode) -> None:
    """Finds the model call above it, or what it hangs on, for it and for all on the way up. A circle leads nowhere."""
    if node.is_joined:
        return
    if node.above is None or node.above.is_joined:
        _join_call(node)
        return
    way: list[SpanNode] = []
    at: SpanNode | None = node
    while at is not None and not at.is_joined:
        at.is_joined = True
        way.append(at)
        at = at.above
    for below in reversed(way):
        _join_call(below)


def _join_call(node: SpanNode) -> None:
    node.is_joined, above = True, node.above
    if above is None:
        node.call = node.span.parent_id or None
        node.hangs = None if node.is_root else node.span.parent_id
    else:
        node.call = above.span.span_id if above.has_figures else above.call
        node.hangs = above.hangs


def _known(usage: Usage) -> int:
    """How many figures are known."""
    return sum(figure is not None for figure in msgspec.structs.astuple(usage))
