"""The fold of an outline: events of one run, in order, become spans; those too short to be drawn are joined."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from towerlog.model.event import EventType
from towerlog.model.outline import MAX_OUTLINE_SPANS, MAX_OUTLINE_TOOLS, Moment, Span, ToolFigures
from towerlog.model.run import TERMINAL, RunRow

_T = EventType
_BEGINS = {
    _T.RUN_QUEUED: "queue",
    _T.RUN_WAITING: "wait",
    _T.RUN_PAUSED: "pause",
    _T.LANE_CLAIMED: "lease",
}
"""What begins a span that only another event ends."""
_ENDS: dict[EventType, tuple[str, ...]] = {
    _T.RUN_STARTED: ("queue",),
    _T.LANE_CLAIMED: ("queue", "lease"),
    _T.LANE_RELEASED: ("lease",),
    _T.LANE_LOST: ("lease",),
    _T.RUN_INPUT: ("wait",),
    _T.RUN_QUESTION_WITHDRAWN: ("wait",),
    _T.RUN_RESUMED: ("pause",),
    **dict.fromkeys((_T.RUN_COMPLETED, _T.RUN_FAILED, _T.RUN_CANCELLED), ("queue", "lease", "wait", "pause")),
    _T.RUN_LOST: ("queue", "lease", "wait", "pause"),
}
_FAILURES = frozenset({_T.RUN_FAILED, _T.RUN_LOST})
_TEXT_PAUSE_MS = 1000
"""Pieces of text that are no further apart are one."""
_TWIN = "\x1f"
"""Stands behind the id of an open call whose id another one has as well, before its seq."""
MAX_OUTLINE_IDS = 1024
"""Of results whose call has not come, and of calls that shared one, so many are remembered: the newest."""
K = TypeVar("K")
V = TypeVar("V")
BLOCK_PIXELS = 4
"""How wide short spans that are joined may become."""
_replace = msgspec.structs.replace


class Outliner:
    """Takes moments in order; then tells the spans and the figures."""

    def __init__(self) -> None:
        """Of a run that has no events yet."""
        self._spans: list[Span] = []
        self._calls: dict[tuple[str, str], dict[str | int, Span]] = {}
        """Open ones by kind and name; of each the oldest first, by its id or, where it has none, its seq."""
        self._names: dict[str, str] = {}
        """Id of an open call → its name: a result may tell the id alone."""
        self._twins: dict[str, None] = {}
        """Ids that several open calls have had: which of them a result belongs to is a guess."""
        self._early: dict[tuple[str, str], int] = {}
        """Kind and id of a result that came before its call → its place in `_spans`."""
        self._states: dict[str, Span] = {}
        """What the run is in, by kind."""
        self._text: dict[int, Span] = {}
        """By agent: the piece of text that may go on."""
        self.last_at: int | None = None
        self.events = 0

    def take(self, moments: Iterable[Moment]) -> None:
        """More events."""
        last_at = self.last_at
        for moment in moments:
            self.events += 1
            at = moment.recorded_at if moment.occurred_at is None else moment.at()
            if last_at is None or at > last_at:
                last_at = at
            _TAKEN.get(moment.type, Outliner._mark)(self, moment, at)
        self.last_at = last_at

    @property
    def span_count(self) -> int:
        """How many spans it holds, about: those that are open are few."""
        return len(self._spans)

    def _take_call(self, moment: Moment, at: int) -> None:
        facts = moment.facts
        if moment.type is _CALL and facts.duration_ms is None and facts.success is None:
            self._begin("tool", facts.tool, facts.tool_call_id, moment, at)
        else:
            self._end("tool", facts.tool, facts.tool_call_id, moment, at)

    def _take_model_call(self, moment: Moment, at: int) -> None:
        facts = moment.facts
        name = None if facts.effects is None else facts.effects.model
        self._spans.append(_span("model", name, moment, at - (facts.duration_ms or 0), at))

    def _take_step(self, moment: Moment, at: int) -> None:
        facts = moment.facts
        if facts.begins is not None:
            self._begin("step", facts.begins, None, moment, at, shown=facts.step)
        elif facts.ends is not None or facts.duration_ms is not None:
            self._end("step", facts.ends or facts.name, None, moment, at, shown=facts.step)
        else:
            self._mark(moment, at)

    def _mark(self, moment: Moment, at: int) -> None:
        """What is neither a call nor text: the state of the run, and everything else."""
        kind = moment.type
        for ended in _ENDS.get(kind, ()):
            span = self._states.pop(ended, None)
            if span is not None:
                self._spans.append(_replace(span, end=max(at, span.begin), last_seq=moment.seq))
        if kind in _BEGINS:
            lane = None if moment.facts.effects is None else moment.facts.effects.lane
            begun = _span(_BEGINS[kind], None if lane is None else lane.worker_id, moment, at, None)
            self._states.setdefault(begun.kind, begun)
        elif kind not in _ENDS or kind in _FAILURES:
            name = moment.facts.name or moment.facts.step or kind.value
            self._spans.append(_span("event", name, moment, at, at, failed=int(kind in _FAILURES)))

    def _begin(
        self, kind: str, name: str | None, call_id: str | None, moment: Moment, at: int, shown: str | None = None
    ) -> None:
        """The beginning of a call; `shown`: what it is called, where both its ends are known by another name."""
        early = self._early.pop((kind, call_id), None) if call_id else None
        if early is not None:
            self._spans[early] = _begun_late(self._spans[early], name, moment, at)
            return
        calls = self._calls.setdefault((kind, name or ""), {})
        if call_id:
            self._names[call_id] = name or ""
            twin = calls.pop(call_id, None)
            if twin is not None:
                calls[f"{call_id}{_TWIN}{twin.first_seq}"] = twin
                _keep(self._twins, call_id, None)
        calls[call_id or moment.seq] = _span(kind, shown or name, moment, at, None)

    def _end(
        self, kind: str, name: str | None, call_id: str | None, moment: Moment, at: int, shown: str | None = None
    ) -> None:
        """The end of a call; where its beginning is not known, it began so long before as it took."""
        name = name or self._names.get(call_id or "") or None
        calls = self._calls.get((kind, name or ""), {})
        is_twin = call_id in self._twins
        key: str | int | None = call_id
        if not call_id or is_twin:
            key = next((one for one in calls if not is_twin or str(one).partition(_TWIN)[0] == call_id), None)
        begun = None if key is None else calls.pop(key, None)
        if call_id and not is_twin:
            self._names.pop(call_id, None)
        took, failed = moment.facts.duration_ms, int(moment.facts.success is False)
        if begun is None:
            if call_id:
                _keep(self._early, (kind, call_id), len(self._spans))
            span = _span(kind, shown or name, moment, at - (took or 0), at, failed)
            self._spans.append(span if took is not None else _replace(span, is_timed=False))
            return
        begin = begun.begin if took is None else at - took
        end, is_timed = max(at, begin), took is not None or not is_twin
        seqs = begun.first_seq, moment.seq
        self._spans.append(Span(kind, begun.name, begun.agent, begin, end, *seqs, 1, failed, None, is_timed))

    def _say(self, moment: Moment, at: int) -> None:
        agent = moment.agent
        said = self._text.get(agent)
        if said is not None and said.end is not None and at - said.end <= _TEXT_PAUSE_MS:
            end = at if at > said.end else said.end
            # Made anew, which is faster than a copy with changes: most events are text.
            self._text[agent] = Span("text", None, agent, said.begin, end, said.first_seq, moment.seq, said.count + 1)
            return
        if said is not None:
            self._spans.append(said)
        self._text[agent] = _span("text", None, moment, at, at)

    def spans(self, children: Iterable[RunRow] = (), ended_at: int | None = None) -> list[Span]:
        """All spans so far, by their beginnings. What is open goes on, or ends with its run."""
        still = [*self._states.values(), *(span for calls in self._calls.values() for span in calls.values())]
        if ended_at is not None:
            still = [_replace(span, end=max(ended_at, span.begin)) for span in still]
        found = [*self._spans, *self._text.values(), *still, *map(_child, children)]
        return sorted(found, key=lambda span: (span.begin, span.first_seq))

    def tools(self) -> list[ToolFigures]:
        """The figures of each tool, the one that was called most first."""
        ended: dict[str, list[Span]] = {}
        for span in self._spans:
            if span.kind == "tool" and span.end is not None:
                ended.setdefault(span.name or "", []).append(span)
        still = {name: len(calls) for (kind, name), calls in self._calls.items() if kind == "tool" and calls}
        names = dict.fromkeys([*ended, *still])
        found = [_figures(one, ended.get(one, []), still.get(one, 0)) for one in names]
        return sorted(found, key=lambda one: (-one.calls, one.tool))[:MAX_OUTLINE_TOOLS]


def _span(kind: str, name: str | None, moment: Moment, begin: int, end: int | None, failed: int = 0) -> Span:
    return Span(kind, name, moment.agent, begin, end, moment.seq, moment.seq, 1, failed)


_CALL = _T.TOOL_CALL
_TAKEN = {
    _T.MESSAGE_DELTA: Outliner._say,
    _T.TOOL_CALL: Outliner._take_call,
    _T.TOOL_RESULT: Outliner._take_call,
    _T.MODEL_CALL: Outliner._take_model_call,
    _T.STEP: Outliner._take_step,
}
"""What is neither a call nor text is the state of the run, or a mark."""


def _child(row: RunRow) -> Span:
    began, ended = row.span()
    begin = row.began_at() if began is None else began
    failed = int(row.status in TERMINAL and row.error is not None)
    return Span("child", row.agent, 0, begin, ended, 0, 0, failed=failed, run_id=row.run_id)


def _begun_late(ended: Span, name: str | None, moment: Moment, at: int) -> Span:
    """A call that ended before its beginning was told, with that; where it took some time by its own word, it did."""
    is_between = not ended.is_timed and ended.end is not None and at < ended.end
    return _replace(
        ended,
        name=ended.name or name,
        begin=at if is_between else ended.begin,
        first_seq=min(ended.first_seq, moment.seq),
        last_seq=max(ended.last_seq, moment.seq),
        is_timed=ended.is_timed or is_between,
    )


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    """Adds to a map that forgets what was added first."""
    kept[key] = value
    if len(kept) > MAX_OUTLINE_IDS:
        del kept[next(iter(kept))]


def _figures(tool: str, ended: list[Span], still: int) -> ToolFigures:
    took = sorted([span.end - span.begin for span in ended if span.end is not None and span.is_timed])

    def part(percent: int) -> int | None:
        # The smallest that is not below so large a part of them.
        return took[-(-len(took) * percent // 100) - 1] if took else None

    failed = sum([span.failed for span in ended])
    return ToolFigures(tool, len(ended) + still, failed, still, part(50), part(95), part(100))


def within(spans: Iterable[Span], begin: int, end: int) -> list[Span]:
    """Those that are seen in a window."""
    return [span for span in spans if span.begin <= end and (span.end is None or span.end >= begin)]


def drawable(spans: list[Span], pixel_ms: float, now: int) -> list[Span]:
    """The same with neighbours of one kind and agent joined that are narrower than a pixel; at most so many as are
    drawn: past that, pixels are taken wider until they are few enough."""
    ends = (now if span.end is None else span.end for span in spans)
    whole_ms = max(ends, default=now) - min((span.begin for span in spans), default=now)
    while True:
        # Of so many agents that each would have a span of its own, those of one kind are joined in the end.
        # What was joined is joined further, so that each turn has fewer to look at.
        spans = _joined(spans, pixel_ms, now, apart=pixel_ms <= 2 * whole_ms)
        if len(spans) <= MAX_OUTLINE_SPANS:
            return spans
        pixel_ms = max(pixel_ms * 2, 1.0)


class _Block:
    """A span that others may be joined with, and what has come of that."""

    __slots__ = ("agent", "at", "begin", "count", "end", "failed", "goes_on", "is_short", "last_seq", "name", "run_id")

    def __init__(self, span: Span, end: int, at: int, pixel_ms: float) -> None:
        """`end`: of the span, or now; `at`: its place among those that are found."""
        self.at, self.begin, self.end = at, span.begin, end
        self.goes_on, self.last_seq = span.end is None, span.last_seq
        self.count, self.failed = span.count, span.failed
        self.name, self.agent, self.run_id = span.name, span.agent, span.run_id
        self.is_short = span.count > 1 or end - span.begin < pixel_ms

    def takes(self, begin: int, end: int, pixel_ms: float) -> bool:
        """Whether a short span that begins then is joined. No block is so long that what failed in it could be
        anywhere."""
        is_near = self.is_short and begin - self.end < pixel_ms
        return is_near and end - self.begin <= BLOCK_PIXELS * pixel_ms

    def take(self, span: Span, end: int) -> None:
        """Joins it."""
        self.is_short = True
        self.end, self.last_seq = max(self.end, end), max(self.last_seq, span.last_seq)
        self.goes_on = self.goes_on or span.end is None
        self.count, self.failed = self.count + span.count, self.failed + span.failed
        self.name = self.name if self.name == span.name else None
        self.agent = self.agent if self.agent == span.agent else 0
        self.run_id = self.run_id if self.run_id == span.run_id else None

    def joined(self, first: Span) -> Span:
        """All of them as one."""
        return _replace(
            first,
            end=None if self.goes_on else self.end,
            last_seq=self.last_seq,
            count=self.count,
            failed=self.failed,
            name=self.name,
            agent=self.agent,
            run_id=self.run_id,
        )


def _joined(spans: list[Span], pixel_ms: float, now: int, *, apart: bool) -> list[Span]:
    found: list[Span] = []
    last: dict[tuple[str, int], _Block] = {}
    grown: dict[int, _Block] = {}
    for span in spans:
        end = now if span.end is None else span.end
        lane = (span.kind, span.agent if apart else 0)
        block = last.get(lane)
        if block is not None and end - span.begin < pixel_ms and block.takes(span.begin, end, pixel_ms):
            block.take(span, end)
            grown[block.at] = block
            continue
        last[lane] = _Block(span, end, len(found), pixel_ms)
        found.append(span)
    for at, block in grown.items():
        found[at] = block.joined(found[at])
    return found
