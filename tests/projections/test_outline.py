"""Outlines: calls, states and text become spans, and what is too short to be drawn is joined."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import run_row
from towerlog.dialects.fields import step_facts
from towerlog.model.event import EventType
from towerlog.model.facts import NO_FACTS, Effects, Facts, LaneFacts
from towerlog.model.outline import MAX_OUTLINE_SPANS, Moment, Span, ToolFigures
from towerlog.model.run import Status
from towerlog.projections.outline import Outliner, drawable, within

E = EventType
T0 = 1_700_000_000_000


def moment(seq: int, kind: EventType, at: int, facts: Facts = NO_FACTS, **more: Any) -> Moment:
    return Moment(seq, kind, T0 + at, more.get("occurred_at"), more.get("agent", 1), facts)


def spans_of(*moments: Moment, **more: Any) -> list[tuple[Any, ...]]:
    """(kind, name, begin, end, first, last, count, failed) of each."""
    outliner = Outliner()
    outliner.take(moments)
    return [
        (
            s.kind,
            s.name,
            s.begin - T0,
            None if s.end is None else s.end - T0,
            s.first_seq,
            s.last_seq,
            s.count,
            s.failed,
        )
        for s in outliner.spans(**more)
    ]


def test_a_call_is_from_its_beginning_to_its_result() -> None:
    called = Facts(tool="ls", tool_call_id="c1")
    done = Facts(tool="ls", tool_call_id="c1", success=False, duration_ms=30)
    assert spans_of(moment(1, E.TOOL_CALL, 10, called), moment(2, E.TOOL_RESULT, 40, done)) == [
        ("tool", "ls", 10, 40, 1, 2, 1, 1)
    ]
    only_id = Facts(tool_call_id="c1", success=True)
    assert spans_of(moment(1, E.TOOL_CALL, 10, called), moment(2, E.TOOL_RESULT, 40, only_id)) == [
        ("tool", "ls", 10, 40, 1, 2, 1, 0)
    ]


def test_calls_of_one_tool_that_overlap_are_told_apart_by_their_ids_else_by_their_order() -> None:
    def of(call_id: str | None, **more: Any) -> Facts:
        return Facts(tool="ls", tool_call_id=call_id, **more)

    calls = [moment(1, E.TOOL_CALL, 0, of("a")), moment(2, E.TOOL_CALL, 1, of("b"))]
    ends = [moment(3, E.TOOL_RESULT, 5, of("b", success=True)), moment(4, E.TOOL_RESULT, 9, of("a", success=True))]
    assert [span[2:6] for span in spans_of(*calls, *ends)] == [(0, 9, 1, 4), (1, 5, 2, 3)]
    calls = [moment(1, E.TOOL_CALL, 0, of(None)), moment(2, E.TOOL_CALL, 1, of(None))]
    ends = [moment(3, E.TOOL_RESULT, 5, of(None, success=True)), moment(4, E.TOOL_RESULT, 9, of(None, success=True))]
    assert [span[2:6] for span in spans_of(*calls, *ends)] == [(0, 5, 1, 3), (1, 9, 2, 4)]


def test_what_has_no_beginning_began_so_long_before_as_it_took() -> None:
    assert spans_of(moment(7, E.TOOL_RESULT, 50, Facts(tool="ls", duration_ms=20, success=True))) == [
        ("tool", "ls", 30, 50, 7, 7, 1, 0)
    ]
    call = Facts(duration_ms=40, effects=Effects(model="m"))
    assert spans_of(moment(3, E.MODEL_CALL, 50, call)) == [("model", "m", 10, 50, 3, 3, 1, 0)]
    assert spans_of(moment(1, E.STEP, 0, Facts(begins="plan")), moment(2, E.STEP, 9, Facts(ends="plan"))) == [
        ("step", "plan", 0, 9, 1, 2, 1, 0)
    ]


def test_a_step_has_the_name_that_its_sender_gave_it_and_not_the_id_of_its_span() -> None:
    span, other = "01a229c1-9b6c-73b3-8410-6b4ecfeadcd7", "01a229c1-9b6c-73b3-8410-6b4ecfeadcd8"
    begins, ends = (step_facts(span, "work", phase, took) for phase, took in (("start", None), ("end", 9.0)))
    assert spans_of(moment(1, E.STEP, 0, begins), moment(2, E.STEP, 9, ends)) == [("step", "work", 0, 9, 1, 2, 1, 0)]
    assert spans_of(moment(2, E.STEP, 9, ends)) == [("step", "work", 0, 9, 2, 2, 1, 0)]
    # Two of one name at once are brought together by their ids.
    twins = [step_facts(one, "work", phase, None) for one, phase in ((span, "start"), (other, "start"), (span, "end"))]
    found = spans_of(*(moment(n, E.STEP, n * 10, facts) for n, facts in enumerate(twins, start=1)))
    assert found == [("step", "work", 10, 30, 1, 3, 1, 0), ("step", "work", 20, None, 2, 2, 1, 0)]
    assert spans_of(moment(1, E.STEP, 5, step_facts(None, "plan", None, None))) == [("event", "plan", 5, 5, 1, 1, 1, 0)]
    assert spans_of(moment(1, E.STEP, 5, step_facts(None, "plan", None, 3.0)))[0][1] == "plan"


def test_the_states_of_a_run() -> None:
    held = Facts(effects=Effects(lane=LaneFacts("w")))
    found = spans_of(
        moment(1, E.RUN_QUEUED, 0),
        moment(2, E.LANE_CLAIMED, 5, held),
        moment(3, E.RUN_STARTED, 5),
        moment(4, E.RUN_WAITING, 10),
        moment(5, E.RUN_INPUT, 60),
        moment(6, E.RUN_PAUSED, 70),
        moment(7, E.RUN_RESUMED, 80),
        moment(8, E.RUN_FAILED, 90),
    )
    assert found == [
        ("queue", None, 0, 5, 1, 2, 1, 0),
        ("lease", "w", 5, 90, 2, 8, 1, 0),
        ("wait", None, 10, 60, 4, 5, 1, 0),
        ("pause", None, 70, 80, 6, 7, 1, 0),
        ("event", "run.failed", 90, 90, 8, 8, 1, 1),
    ]


def test_text_is_a_block_until_there_is_a_pause() -> None:
    times = [0, 100, 900, 3000, 3100]
    assert spans_of(*(moment(n, E.MESSAGE_DELTA, at) for n, at in enumerate(times, start=1))) == [
        ("text", None, 0, 900, 1, 3, 3, 0),
        ("text", None, 3000, 3100, 4, 5, 2, 0),
    ]


def test_what_is_open_goes_on_until_its_run_ends() -> None:
    call = moment(1, E.TOOL_CALL, 10, Facts(tool="ls"))
    assert spans_of(call) == [("tool", "ls", 10, None, 1, 1, 1, 0)]
    assert spans_of(call, ended_at=T0 + 70) == [("tool", "ls", 10, 70, 1, 1, 1, 0)]
    child = msgspec.structs.replace(
        run_row(2), status=Status.FAILED, error="no", agent="b", started_at=T0 + 3, ended_at=T0 + 9
    )
    assert spans_of(children=[child]) == [("child", "b", 3, 9, 0, 0, 1, 1)]


def test_the_senders_clock_counts_unless_it_is_absurd() -> None:
    assert spans_of(moment(1, E.CHECKPOINT, 50, occurred_at=T0 + 20))[0][2] == 20
    assert spans_of(moment(1, E.CHECKPOINT, 50, occurred_at=5))[0][2] == 50


def test_the_figures_of_tools() -> None:
    outliner = Outliner()
    for n in range(1, 101):
        outliner.take([moment(n, E.TOOL_RESULT, n, Facts(tool="ls", duration_ms=n, success=n % 10 != 0))])
    outliner.take([moment(101, E.TOOL_CALL, 200, Facts(tool="ls")), moment(102, E.TOOL_CALL, 200, Facts(tool="cat"))])
    assert outliner.tools() == [
        ToolFigures("ls", 101, 10, 1, 50, 95, 100),
        ToolFigures("cat", 1, 0, 1, None, None, None),
    ]


def told(*moments: Moment) -> tuple[list[tuple[Any, ...]], list[ToolFigures]]:
    """(name, begin, end, first, last) of each span, and the figures of the tools."""
    outliner = Outliner()
    outliner.take(moments)
    spans = [
        (s.name, s.begin - T0, None if s.end is None else s.end - T0, s.first_seq, s.last_seq)
        for s in (outliner.spans())
    ]
    return spans, outliner.tools()


def test_how_long_a_call_took_that_nobody_has_told_is_unknown_and_not_nothing() -> None:
    done = Facts(tool="ls", success=False)
    spans, tools = told(moment(1, E.TOOL_RESULT, 5, done), moment(2, E.TOOL_RESULT, 9, done))
    assert spans == [("ls", 5, 5, 1, 1), ("ls", 9, 9, 2, 2)]
    assert tools == [ToolFigures("ls", 2, 2, 0, None, None, None)]
    timed = moment(3, E.TOOL_RESULT, 12, Facts(tool="ls", duration_ms=0))
    assert told(moment(1, E.TOOL_RESULT, 5, done), timed)[1] == [ToolFigures("ls", 2, 1, 0, 0, 0, 0)]


@pytest.mark.parametrize(("own", "begin"), [(None, 10), (4, 16)])
def test_a_result_that_overtook_its_call_ends_it(own: int | None, begin: int) -> None:
    call = Facts(tool="ls", tool_call_id="c")
    done = Facts(tool="ls", tool_call_id="c", success=True, duration_ms=own)
    first = moment(1, E.TOOL_RESULT, 30, done, occurred_at=T0 + 20)
    spans, tools = told(first, moment(2, E.TOOL_CALL, 31, call, occurred_at=T0 + 10))
    assert spans == [("ls", begin, 20, 1, 2)]
    assert tools == [ToolFigures("ls", 1, 0, 0, 20 - begin, 20 - begin, 20 - begin)]
    # Where nothing but the arrival tells when they were, nothing was measured.
    late = told(moment(1, E.TOOL_RESULT, 30, done), moment(2, E.TOOL_CALL, 31, call))
    assert late[1] == [ToolFigures("ls", 1, 0, 0, *[own] * 3)]


def test_two_calls_that_share_an_id_are_two_and_which_took_how_long_is_unknown() -> None:
    call = Facts(tool="ls", tool_call_id="c")
    done = Facts(tool="ls", tool_call_id="c", success=True)
    other = moment(1, E.TOOL_CALL, 0, Facts(tool="ls", tool_call_id="other"))
    begun = [other, moment(2, E.TOOL_CALL, 0, call), moment(3, E.TOOL_CALL, 1, call)]
    assert told(*begun)[1] == [ToolFigures("ls", 3, 0, 3, None, None, None)]
    spans, tools = told(*begun, moment(4, E.TOOL_RESULT, 4, done), moment(5, E.TOOL_RESULT, 9, done))
    assert spans == [("ls", 0, None, 1, 1), ("ls", 0, 4, 2, 4), ("ls", 1, 9, 3, 5)]
    assert tools == [ToolFigures("ls", 3, 0, 1, None, None, None)]


def test_a_window_shows_what_is_seen_in_it() -> None:
    spans = [Span("tool", "x", 1, begin, end, 1, 1) for begin, end in ((0, 10), (5, None), (20, 30), (40, 50))]
    assert [span.begin for span in within(spans, 10, 20)] == [0, 5, 20]


def test_neighbours_that_are_narrower_than_a_pixel_are_one() -> None:
    short = [Span("tool", name, 1, at, at + 1, at, at, failed=at == 2) for at, name in ((0, "a"), (2, "a"), (4, "b"))]
    long = Span("tool", "a", 1, 100, 300, 9, 9)
    other = Span("tool", "a", 2, 3, 4, 7, 7)
    found = drawable(sorted([*short, other, long], key=lambda span: span.begin), 10, 1000)
    assert [(s.name, s.agent, s.begin, s.end, s.count, s.failed, s.last_seq) for s in found] == [
        (None, 1, 0, 5, 3, 1, 4),
        ("a", 2, 3, 4, 1, 0, 7),
        ("a", 1, 100, 300, 1, 0, 9),
    ]
    assert drawable(short, 0.1, 1000) == short


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 50.0]))
def test_it_is_never_more_than_can_be_drawn_and_nothing_is_lost(seed: int, pixel_ms: float) -> None:
    rng = random.Random(seed)
    at, spans = 0, []
    for n in range(rng.randrange(6000)):
        at += rng.choice([0, 1, 5, 1000])
        spans.append(Span("tool", rng.choice("ab"), rng.randrange(3), at, at + rng.choice([0, 3, 9000]), n, n))
    found = drawable(spans, pixel_ms, at)
    assert len(found) <= MAX_OUTLINE_SPANS
    assert sum(span.count for span in found) == len(spans)
    if spans:
        assert min(span.begin for span in found) == spans[0].begin
        assert max(span.end or 0 for span in found) >= spans[-1].begin


def test_more_agents_than_spans_are_joined_by_kind() -> None:
    spans = [Span("tool", "x", n, 0, n % 7, n, n) for n in range(1, 3001)]
    found = drawable(spans, 1.0, 10)
    assert len(found) <= MAX_OUTLINE_SPANS
    assert sum(span.count for span in found) == 3000


@pytest.mark.parametrize("kind", list(EventType))
def test_every_type_of_event_is_taken(kind: EventType) -> None:
    assert len(spans_of(moment(1, kind, 0))) <= 1
