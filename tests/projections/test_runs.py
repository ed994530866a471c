"""The fold of a run, case by case, and for random sequences of events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import event, facts_of, run_row
from tests.support.fakes import START_MS
from tests.support.stories import FACTS, reports
from tests.support.tables import table
from towerlog.model.agent_share import AgentShare
from towerlog.model.approval import OnExpiry
from towerlog.model.event import QUESTION_TYPES, TARGET_STATUS, Event, EventType
from towerlog.model.facts import NO_EFFECTS, NO_FACTS, CheckpointFacts, Effects, Facts, LaneFacts, Origin
from towerlog.model.liveness import NOT_FROM_AGENT
from towerlog.model.pending import Pending
from towerlog.model.row_bounds import CALL_BYTES
from towerlog.model.run import (
    MAX_METADATA_BYTES,
    MAX_OPEN_ID_CHARS,
    MAX_OPEN_TOOL_BYTES,
    MAX_OPEN_TOOLS,
    MAX_PENDING,
    SEEN_GRAIN_MS,
    TERMINAL,
    TRANSITIONS,
    ForkedFrom,
    OpenQuestion,
    OpenTool,
    RunRow,
    Status,
    long_call_id,
)
from towerlog.model.spending import MAX_SHARES
from towerlog.model.usage import NO_USAGE, Usage, UsageReport
from towerlog.projections import runs as run_fold
from towerlog.projections.status import reports_recovery
from towerlog.projections.usage import HOUR_MS

E = EventType


def happened(row: RunRow, kind: EventType = E.STEP, facts: Facts = NO_FACTS, **fields: Any) -> Event:
    """The next event of a run, as the log would hold it."""
    known = {
        "type": kind,
        "facts": facts,
        "facts_json": b"" if facts is NO_FACTS else msgspec.json.encode(facts),
        "late": row.is_terminal() and not reports_recovery(row, kind, facts.effects or NO_EFFECTS),
        "hash": b"h%d" % (row.last_seq + 1),
    }
    return event(row.last_position + 10, row.last_seq + 1, **{**known, **fields})


def after(row: RunRow, *kinds: EventType, agent: str | None = "a", **fields: Any) -> RunRow:
    """The row once these have happened to it."""
    for kind in kinds:
        row = run_fold.fold(row, happened(row, kind, **fields), agent)
    return row


def told(row: RunRow, kind: EventType = E.STEP, agent: str | None = "a", data: bytes = b"{}", **facts: Any) -> RunRow:
    """The row after one event that says something."""
    return run_fold.fold(row, happened(row, kind, facts_of(**facts), data=data), agent)


def reported(row: RunRow, agent: str, usage: Usage, kind: Any = "total", *, whole_run: bool = False) -> RunRow:
    """The row after a report of usage."""
    return told(row, E.MODEL_CALL, agent, report=UsageReport(usage, kind, whole_run))


# Beginning


def test_a_run_begins_as_it_was_born() -> None:
    origin = Origin("id", "thread", "trace", "steps:1", True, "user", "trace:p", "before", "persona", "route", "steps")
    origin = msgspec.structs.replace(origin, retry_of="first", forked_from=ForkedFrom("other", 3, "a"))
    row = run_fold.begin(event(7, 1, facts=Facts(effects=Effects(origin=origin))))
    assert row == RunRow(
        row.run,
        1,
        "id",
        "thread",
        "trace",
        Status.RUNNING,
        START_MS + 7,
        foreign_id="steps:1",
        source="steps",
        implicit=True,
        created_by="user",
        parent_key="trace:p",
        resumed_from="before",
        persona_id="persona",
        route_id="route",
        retry_of="first",
        forked_from=ForkedFrom("other", 3, "a"),
    )
    assert (row.last_seq, row.started_at, row.has_lane) == (0, None, False)


def test_a_run_that_is_queued_waits_for_a_worker() -> None:
    row = run_fold.begin(event(1, 1, type=E.RUN_QUEUED, facts=Facts(effects=Effects(origin=Origin("id", "t", "x")))))
    assert (row.status, row.has_lane) == (Status.QUEUED, True)


def test_a_run_begins_with_an_event_that_says_how() -> None:
    with pytest.raises(ValueError, match="event 3"):
        run_fold.begin(event(3, 1))


# Place


def test_every_event_moves_the_place_in_the_log() -> None:
    for row in (run_row(agent="a"), run_row(), run_row(status=Status.COMPLETED)):
        moved = after(row, E.STEP)
        assert (moved.last_seq, moved.last_position, moved.last_hash) == (1, 10, b"h1")
        assert moved.last_event_at == START_MS + 10


def test_a_plain_event_moves_nothing_else() -> None:
    row = run_row(
        agent="a",
        model="m",
        first_model="m",
        shares={"a": AgentShare(model="m")},
        pending=(Pending(1, "cancel"),),
        usage=Usage(1),
        questions=(OpenQuestion(1, START_MS),),
    )
    moved = after(row, E.STEP, E.MESSAGE_DELTA, E.OTHER, E.LANE_REPORT)
    place = {"last_seq", "last_position", "last_event_at", "last_hash"}
    place |= {"process_at", "progress_at", "output_at", "seen_at"}
    changed = {name for name in row.__struct_fields__ if getattr(row, name) != getattr(moved, name)}
    assert changed == place


def test_the_first_agent_that_is_known_is_the_runs() -> None:
    row = after(run_row(), E.STEP, agent=None)
    assert row.agent is None
    row = after(row, E.STEP, agent="first")
    assert after(row, E.STEP, agent="second").agent == "first"


# Status


@pytest.mark.parametrize("kind", sorted(TARGET_STATUS))
def test_an_event_takes_a_running_run_where_it_says(kind: EventType) -> None:
    target = TARGET_STATUS[kind]
    row = run_row(status=Status.PAUSED if target is Status.RUNNING else Status.RUNNING)
    row = msgspec.structs.replace(row, status=Status.WAITING) if kind in QUESTION_TYPES else row
    assert after(row, kind).status is target


@table("status", sorted(Status))
@table("target", sorted(Status))
def test_a_status_moves_only_along_the_table(status: Status, target: Status) -> None:
    row = told(run_row(status=status), E.OTHER, status=target)
    assert row.status is (target if target in TRANSITIONS[status] else status)


def test_the_facts_overrule_the_type() -> None:
    assert told(run_row(), E.RUN_STARTED, status=Status.PAUSED).status is Status.PAUSED


def test_input_ends_a_wait_and_nothing_else() -> None:
    for status in (Status.QUEUED, Status.PAUSED, Status.CANCELLING):
        assert after(run_row(status=status), E.RUN_INPUT).status is status
    assert after(run_row(status=Status.WAITING), E.RUN_INPUT).status is Status.RUNNING


def test_a_run_starts_once() -> None:
    row = after(run_row(status=Status.QUEUED), E.RUN_STARTED)
    again = after(row, E.RUN_STARTED)
    assert row.started_at == again.started_at == START_MS + 10
    resumed = told(run_row(status=Status.WAITING), E.OTHER, status=Status.RUNNING)
    assert resumed.started_at == START_MS + 10


def test_a_wait_has_its_question() -> None:
    row = told(run_row(), E.RUN_WAITING, question="which?", question_key="k")
    words = row.questions[0].words
    assert row.questions == (OpenQuestion(1, START_MS + 10, "which?", "k", position=10, words=words),)


def test_a_cancel_is_asked_for_once() -> None:
    row = told(run_row(), E.RUN_CANCEL_REQUESTED, requests="cancel")
    assert (row.status, row.cancel_requested_at) == (Status.CANCELLING, START_MS + 10)
    assert told(row, E.RUN_CANCEL_REQUESTED, requests="cancel").cancel_requested_at == START_MS + 10


def test_an_end_closes_what_was_open() -> None:
    row = run_row(pending=(Pending(1, "input", "x"),), last_seq=4)
    ended = told(row, E.RUN_FAILED, error="why", forced=True)
    assert (ended.status, ended.ended_at, ended.ended_seq) == (Status.FAILED, START_MS + 10, 5)
    assert (ended.error, ended.forced, ended.pending) == ("why", True, ())


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_what_comes_after_the_end_changes_nothing_but_the_time(status: Status) -> None:
    """And what was spent: that is not told here. A tool call is open until its result, as before the end."""
    row = run_row(status=status, ended_at=5, ended_seq=1, agent="a", last_seq=1)
    facts: dict[str, Any] = {
        "requests": "input",
        "error": "late",
        "tool": "t",
    }
    for kind in E:
        moved = told(row, kind, data=b'{"content":""}', **facts)
        expected = msgspec.structs.replace(
            row,
            last_seq=2,
            last_position=10,
            last_event_at=START_MS + 10,
            last_hash=b"h2",
            late_events=1,
            unplaced=((START_MS // HOUR_MS, "a", status.value, 1),),
        )
        if kind is E.TOOL_CALL:
            expected = msgspec.structs.replace(expected, open_tools=(OpenTool("t", "", START_MS + 10),))
        assert moved == expected, kind


def test_a_late_start_fills_in_what_was_missing_and_no_more() -> None:
    row = run_row(status=Status.COMPLETED, implicit=True, agent="known", metadata=msgspec.Raw(b'{"a":1,"b":2}'))
    facts: dict[str, Any] = {"is_start": True, "model": "m", "parent_key": "trace:p"}
    moved = told(row, E.RUN_STARTED, "new", metadata=msgspec.Raw(b'{"a":9,"c":3}'), **facts)
    assert (moved.status, moved.agent, moved.model, moved.parent_key) == (Status.COMPLETED, "known", "m", "trace:p")
    assert (moved.implicit, moved.late_events) == (False, 1)
    assert msgspec.json.decode(moved.metadata) == {"a": 1, "b": 2, "c": 3}, "what was known stays"
    assert told(msgspec.structs.replace(row, agent=None), E.RUN_STARTED, "new", **facts).agent == "new"


def test_only_a_recovered_completion_leads_out_of_a_failure() -> None:
    failed = told(run_row(), E.RUN_FAILED, error="why")
    revived = told(failed, E.RUN_COMPLETED, recovered=True)
    assert (revived.status, revived.error, revived.late_events) == (Status.COMPLETED, None, 0)
    assert revived.ended_seq == 2
    assert told(failed, E.RUN_COMPLETED).status is Status.FAILED
    assert told(failed, E.RUN_CANCELLED, recovered=True).status is Status.FAILED
    cancelled = after(run_row(), E.RUN_CANCELLED)
    assert told(cancelled, E.RUN_COMPLETED, recovered=True).status is Status.CANCELLED


# Facts


def test_the_newest_model_and_the_first_parent_count() -> None:
    row = told(run_row(), model="m1", parent_key="trace:1")
    row = told(row, model="m2", parent_key="trace:2")
    assert (row.model, row.parent_key) == ("m2", "trace:1")


def test_metadata_that_is_too_long_leaves_the_row_as_it_was() -> None:
    row = told(run_row(), metadata=msgspec.Raw(b'{"a":1}'))
    long = msgspec.Raw(b'{"b":"' + b"x" * MAX_METADATA_BYTES + b'"}')
    assert told(row, metadata=long).metadata is row.metadata
    half = msgspec.Raw(b'{"c":"' + b"x" * (MAX_METADATA_BYTES * 2 // 3) + b'"}')
    other = msgspec.Raw(bytes(half).replace(b'"c"', b'"d"'))
    both = told(told(row, metadata=half), metadata=other)
    assert sorted(msgspec.json.decode(both.metadata)) == ["a", "c"]
    ended = msgspec.structs.replace(row, status=Status.COMPLETED)
    assert told(ended, E.RUN_STARTED, metadata=long, is_start=True).metadata is row.metadata


def test_open_calls_with_long_names_push_the_oldest_out() -> None:
    row, room = run_row(), MAX_OPEN_TOOL_BYTES // (400 + CALL_BYTES)
    for number in range(room + 5):
        row = told(row, E.TOOL_CALL, tool="t" * 200, tool_call_id=f"{number:03}".ljust(MAX_OPEN_ID_CHARS, "i"))
    assert [int(call.call_id[:3]) for call in row.open_tools] == list(range(5, room + 5))


def test_a_call_whose_id_is_very_long_is_open_until_its_result_like_any_other() -> None:
    ids = [letter * 8192 for letter in "ab"]
    row = run_row()
    for call_id in ids:
        row = told(row, E.TOOL_CALL, tool="sh", tool_call_id=call_id)
    assert sum(len(call.call_id) for call in row.open_tools) < 100
    row = told(row, E.TOOL_RESULT, tool="sh", tool_call_id=ids[0])
    assert [call.call_id for call in row.open_tools] == [long_call_id(ids[1])]


def test_metadata_is_merged_and_the_newest_wins() -> None:
    row = told(run_row(), metadata=msgspec.Raw(b'{"a":1.50,"b":[1]}'))
    row = told(row, metadata=msgspec.Raw(b'{"b":null,"c":1e400}'))
    assert bytes(row.metadata) == b'{"a":1.50,"b":null,"c":1e400}'


def test_rate_limits_are_counted() -> None:
    row = told(told(run_row(), E.OTHER, rate_limited=True), E.OTHER, rate_limited=True)
    assert row.rate_limited == 2
    assert told(row, E.OTHER, name="else").rate_limited == 2


def test_a_start_makes_a_run_that_was_implied_explicit() -> None:
    assert told(run_row(implicit=True), E.RUN_STARTED, is_start=True).implicit is False
    assert told(run_row(implicit=True), E.STEP, model="m").implicit is True


def test_lane_events_tell_attempt_and_phase() -> None:
    row = told(run_row(), E.LANE_CLAIMED, lane=LaneFacts("w", 1, 2))
    row = told(row, E.LANE_REPORT, lane=LaneFacts(phase="packing"))
    assert (row.attempt, row.phase) == (2, "packing")
    assert told(row, E.LANE_REPORT, lane=LaneFacts()).phase == "packing"


# Usage


def test_totals_and_increments_are_kept_by_agent() -> None:
    row = reported(run_row(), "a", Usage(input_tokens=10))
    row = reported(row, "b", Usage(input_tokens=1), "delta")
    row = reported(row, "b", Usage(input_tokens=2, output_tokens=5), "delta")
    row = reported(row, "a", Usage(input_tokens=20))
    added = Usage(input_tokens=3, output_tokens=5, total_tokens=8)
    of_a = AgentShare(totals=Usage(20, total_tokens=20), rest=Usage(20, total_tokens=20))
    assert row.shares == {"a": of_a, "b": AgentShare(added)}
    assert row.usage == Usage(input_tokens=23, output_tokens=5, total_tokens=28)


def test_increments_do_not_count_beside_a_total_of_the_same_agent() -> None:
    row = reported(run_row(), "a", Usage(input_tokens=3), "delta")
    row = reported(row, "a", Usage(input_tokens=10))
    row = reported(row, "a", Usage(input_tokens=5), "delta")
    assert row.usage == Usage(input_tokens=10, total_tokens=10)


def test_a_total_of_the_whole_run_covers_its_agents() -> None:
    row = reported(run_row(), "a", Usage(input_tokens=3))
    row = reported(row, "b", Usage(input_tokens=9, cost_nanos=7), whole_run=True)
    assert row.usage == Usage(input_tokens=9, cost_nanos=7, total_tokens=9)
    assert reported(row, "a", Usage(input_tokens=99)).usage == Usage(input_tokens=99, cost_nanos=7, total_tokens=99)


def test_a_total_that_falls_flags_its_run() -> None:
    row = reported(reported(run_row(), "a", Usage(input_tokens=10)), "a", Usage(input_tokens=4))
    assert (row.usage.input_tokens, row.usage_flags) == (10, ("total_decreased",))


def test_what_is_told_after_the_end_still_counts() -> None:
    row = after(run_row(), E.RUN_FAILED)
    row = told(row, E.RUN_COMPLETED, model="m", report=UsageReport(Usage(12000, cost_nanos=9), whole_run=True))
    assert (row.status, row.late_events, row.model) == (Status.FAILED, 1, "m")
    assert row.usage == Usage(12000, total_tokens=12000, cost_nanos=9)


def test_the_model_of_an_agent_is_its_own() -> None:
    row = told(run_row(), E.RUN_STARTED, "unknown", model="first")
    assert row.model_of("lead") == "first"
    row = told(told(row, agent="lead", model="big"), agent="scout", model="small")
    assert [row.model_of(name) for name in ("lead", "scout", "else", None)] == ["big", "small", "first", "first"]


def test_the_senders_clock_tells_start_and_end() -> None:
    row = run_fold.fold(run_row(), happened(run_row(), E.RUN_STARTED, occurred_at=START_MS - 5000), "a")
    assert row.start_told_at == START_MS - 5000
    row = run_fold.fold(row, happened(row, E.RUN_COMPLETED, occurred_at=START_MS - 4850), "a")
    assert row.duration_ms() == 150


@pytest.mark.parametrize("absurd", [0, 946_684_799_999, START_MS + 600_000])
def test_an_absurd_clock_tells_nothing(absurd: int) -> None:
    row = run_fold.fold(run_row(), happened(run_row(), E.RUN_STARTED, occurred_at=absurd), "a")
    assert row.start_told_at is None


def test_a_start_that_was_overtaken_tells_when_the_run_began() -> None:
    row = run_row(implicit=True)
    row = run_fold.fold(row, happened(row, occurred_at=START_MS - 10), "a")
    assert row.start_told_at == START_MS - 10, "no start has come"
    row = run_fold.fold(row, happened(row, E.RUN_COMPLETED, occurred_at=START_MS - 5), "a")
    facts = facts_of(is_start=True)
    row = run_fold.fold(row, happened(row, E.RUN_STARTED, facts, occurred_at=START_MS - 30), "a")
    assert (row.duration_ms(), row.late_events) == (25, 1)


def test_unknown_is_not_zero() -> None:
    row = reported(run_row(), "a", NO_USAGE)
    assert row.usage == NO_USAGE
    assert row.usage.input_tokens is None


def test_past_so_many_agents_the_rest_are_added_up() -> None:
    row = run_row()
    for number in range(MAX_SHARES + 5):
        row = reported(row, f"agent {number}", Usage(input_tokens=1), "delta")
    assert row.dormant is not None
    assert len(row.shares) + len(row.dormant.shares) == MAX_SHARES
    assert row.retired is not None
    assert row.retired.increments == Usage(input_tokens=5, total_tokens=5)
    assert row.usage == Usage(input_tokens=MAX_SHARES + 5, total_tokens=MAX_SHARES + 5)


def test_the_newest_step_is_named_by_its_agent_however_many_there_are() -> None:
    """Of retired agents the one with the highest step is remembered."""
    row = run_row()
    for number in range(MAX_SHARES + 5):
        name = f"agent {number}"
        step = {1: 9, 3: 4}.get(number, 1)
        row = told(row, E.CHECKPOINT, name, checkpoint=CheckpointFacts(step, "done"))
    assert row.latest_step() == ("agent 1", 9)
    assert row.share("agent 1") is None
    row = told(row, E.CHECKPOINT, "agent 3", checkpoint=CheckpointFacts(10, "done"))
    assert row.latest_step() == ("agent 3", 10)


def test_a_checkpoint_raises_its_agents_step() -> None:
    row = run_row()
    for step in (3, 1):
        row = told(row, E.CHECKPOINT, "a", checkpoint=CheckpointFacts(step, "idle"))
    assert row.shares == {"a": AgentShare(step_index=3)}


# Commands and tools


def test_a_wish_is_pending_until_it_is_acknowledged() -> None:
    row = told(run_row(), E.RUN_CANCEL_REQUESTED, requests="cancel")
    row = told(row, E.RUN_INPUT, requests="input", data=b'{"content":"one","by":"u"}')
    row = told(row, E.RUN_INPUT, requests="input", data=b'{"content":"two"}')
    assert row.pending == (Pending(1, "cancel"), Pending(2, "input", "one"), Pending(3, "input", "two"))
    by_type = told(row, E.COMMAND_ACKNOWLEDGED, acknowledges="input")
    assert [one.command_id for one in by_type.pending] == [1, 3]
    by_id = told(row, E.COMMAND_ACKNOWLEDGED, command_id=3)
    assert [one.command_id for one in by_id.pending] == [1, 2]
    assert told(row, E.COMMAND_ACKNOWLEDGED, command_id=99).pending == row.pending
    assert told(row, E.COMMAND_ACKNOWLEDGED, acknowledges="pause").pending == row.pending


def test_past_so_many_wishes_the_oldest_gives_way() -> None:
    row = run_row()
    for _ in range(MAX_PENDING + 3):
        row = told(row, E.OTHER, requests="input")
    assert [one.command_id for one in row.pending] == list(range(4, MAX_PENDING + 4))


def test_words_about_expired_questions_give_way_before_what_people_have_said() -> None:
    row = told(run_row(), E.RUN_INPUT, requests="input")
    for _ in range(MAX_PENDING):
        row = told(row, E.OTHER, requests="input", expires=OnExpiry.DENY)
    assert [one.command_id for one in row.pending] == [1, *range(3, MAX_PENDING + 2)]


def test_a_call_is_open_until_its_result() -> None:
    row = told(run_row(), E.TOOL_CALL, tool="sh", tool_call_id="c1")
    row = told(row, E.TOOL_CALL, tool="web", tool_call_id="c2")
    assert [(call.tool, call.call_id, call.overlaps) for call in row.open_tools] == [
        ("sh", "c1", False),
        ("web", "c2", False),
    ]
    assert told(row, E.TOOL_RESULT, tool_call_id="c1").open_tools == row.open_tools[1:]
    assert told(row, E.TOOL_RESULT, tool_call_id="none").open_tools == row.open_tools
    for number in range(MAX_OPEN_TOOLS):
        row = told(row, E.TOOL_CALL, tool="sh", tool_call_id=f"n{number}")
    assert len(row.open_tools) == MAX_OPEN_TOOLS
    assert (row.open_tools[0].tool, row.open_tools[0].call_id) == ("sh", "n0")


def test_calls_of_one_tool_that_are_open_together_are_marked() -> None:
    row = run_row()
    for tool, call_id in (("sh", "a"), ("web", "b"), ("sh", "c")):
        row = told(row, E.TOOL_CALL, tool=tool, tool_call_id=call_id)
    assert [call.overlaps for call in row.open_tools] == [True, False, True]
    row = told(told(row, E.TOOL_RESULT, tool_call_id="a"), E.TOOL_RESULT, tool_call_id="c")
    assert not told(row, E.TOOL_CALL, tool="sh", tool_call_id="d").open_tools[-1].overlaps


def test_a_call_keeps_both_of_its_times() -> None:
    [call] = run_fold.fold(
        run_row(last_seq=1), event(2, 2, type=E.TOOL_CALL, occurred_at=START_MS - 5), None
    ).open_tools
    assert (call.called_at, call.told_at) == (START_MS + 2, START_MS - 5)
    [call] = run_fold.fold(run_row(last_seq=1), event(2, 2, type=E.TOOL_CALL, occurred_at=7), None).open_tools
    assert call.told_at is None, "a clock that was never set"


def test_calls_stay_open_past_the_end_for_results_that_are_late() -> None:
    row = told(run_row(), E.TOOL_CALL, tool="sh", tool_call_id="c1")
    row = told(row, E.RUN_COMPLETED)
    assert [call.call_id for call in row.open_tools] == ["c1"]
    row = told(row, E.TOOL_CALL, tool="sh", tool_call_id="c2")
    assert [call.call_id for call in row.open_tools] == ["c1", "c2"]
    assert told(row, E.TOOL_RESULT, tool_call_id="c1").open_tools[0].call_id == "c2"


# Random sequences

said_of = st.fixed_dictionaries({}, optional={**FACTS, "report": reports, "tool_call_id": st.sampled_from("cd")})
sequences = st.lists(st.tuples(st.sampled_from(list(E)), said_of, st.sampled_from(["a", "b", None])), max_size=25)


@given(sequences)
def test_the_status_moves_along_the_table_and_the_first_end_decides(sequence: list[Any]) -> None:
    row = run_row(status=Status.QUEUED)
    for kind, facts, agent in sequence:
        moved = told(row, kind, agent, b'{"content":""}', **facts)
        if moved.status is not row.status:
            revived = row.status is Status.FAILED and kind is E.RUN_COMPLETED and facts.get("recovered")
            assert moved.status in TRANSITIONS[row.status] or revived
        if row.is_terminal() and moved.status is row.status:
            assert (moved.ended_seq, moved.error) == (row.ended_seq, row.error)
        assert moved.is_terminal() == (moved.ended_at is not None)
        assert len(moved.pending) <= MAX_PENDING
        assert len(moved.open_tools) <= MAX_OPEN_TOOLS
        row = moved


@given(sequences)
def test_a_row_that_was_stored_folds_on_as_if_it_had_not_been(sequence: list[Any]) -> None:
    kept = read_back = run_row(status=Status.QUEUED)
    for kind, facts, agent in sequence:
        kept = told(kept, kind, agent, b'{"content":""}', **facts)
        read_back = told(read_back, kind, agent, b'{"content":""}', **facts)
        read_back = msgspec.json.decode(msgspec.json.encode(read_back), type=RunRow)
    assert msgspec.json.encode(kept) == msgspec.json.encode(read_back)


# Clocks


def test_three_clocks_are_moved_by_what_each_of_them_means() -> None:
    row = run_row()
    at: dict[str, int] = {}
    for n, kind in enumerate([E.STEP, E.MESSAGE_DELTA, E.TOOL_CALL, E.RUN_WAITING], start=1):
        row = after(row, kind, recorded_at=START_MS + n * 1000)
        at[kind] = START_MS + n * 1000
    row = told(row, E.LANE_REPORT, beat=True)
    assert (row.output_at, row.progress_at) == (at[E.MESSAGE_DELTA], at[E.RUN_WAITING])
    assert row.process_at == row.last_event_at
    assert row.sends_heartbeats


@pytest.mark.parametrize("kind", sorted(NOT_FROM_AGENT))
def test_what_others_write_about_a_run_is_no_life(kind: EventType) -> None:
    row = after(run_row(), E.STEP)
    moved = after(row, kind, recorded_at=START_MS + 10**9)
    assert (moved.process_at, moved.progress_at, moved.seen_at) == (row.process_at, row.progress_at, row.seen_at)


@table(
    "kind, effects",
    [
        (E.RUN_MESSAGE, Effects(requests="message")),
        (E.RUN_INPUT, Effects(requests="input")),
        (E.CHECKPOINT, Effects(checkpoint=CheckpointFacts(1, "approved", decision=True, decided_by="ada"))),
        (E.CHECKPOINT, Effects(checkpoint=CheckpointFacts(1, "rejected", decision=True, expired=True))),
    ],
)
@table("was", [Status.RUNNING, Status.WAITING])
def test_what_a_person_does_is_no_life_and_ends_a_wait(kind: EventType, effects: Effects, was: Status) -> None:
    """Whoever writes to a dead agent must not make it look alive; and an answer after days must not make it silent."""
    row = told(run_row(), E.RUN_WAITING if was is Status.WAITING else E.STEP, status=was)
    later = START_MS + 10**9
    moved = after(row, kind, recorded_at=later, facts=Facts(effects=effects), data=b'{"content":"there?"}')
    assert (moved.process_at, moved.progress_at) == (row.process_at, row.progress_at)
    assert moved.expected_at == (later if was is Status.WAITING else None)
    assert moved.seen_at == (later if was is Status.WAITING else row.seen_at)
    assert after(told(moved, E.OTHER, beat=True), E.STEP).expected_at is None


@pytest.mark.parametrize("plain", [True, False])
def test_the_watched_minute_lags_behind_by_no_more_than_that(plain: bool) -> None:
    row = run_row()
    facts = NO_FACTS if plain else Facts(effects=Effects(is_start=True))
    for step_ms in (0, 1, 30_000, 29_999, 1, 59_999, 1, 200_000, -500_000, 10):
        at = (row.process_at or START_MS) + step_ms
        row = after(row, E.STEP, recorded_at=at, facts=facts)
        assert row.process_at == at
        assert 0 <= at - row.seen_at < SEEN_GRAIN_MS


def test_idle_is_until_the_next_word() -> None:
    row = told(run_row(), E.OTHER, idle=True, status=Status.RUNNING)
    assert row.idle
    assert told(row, E.OTHER, beat=True).idle
    assert not after(row, E.STEP).idle
    assert not told(row, E.OTHER, rate_limited=True).idle


# The stages of a cancel


def test_a_delivery_marks_its_command_and_no_other() -> None:
    row = told(run_row(), E.RUN_INPUT, requests="input", data=b'{"content":"one"}')
    row = told(row, E.RUN_CANCEL_REQUESTED, requests="cancel", data=b'{"reason":"why"}')
    assert (row.cancel_reason, row.cancel_delivered_at) == ("why", None)
    by_input = told(row, E.COMMAND_DELIVERED, delivers=1)
    assert [one.delivered for one in by_input.pending] == [True, False]
    assert by_input.cancel_delivered_at is None
    by_cancel = told(row, E.COMMAND_DELIVERED, delivers=2)
    assert [one.delivered for one in by_cancel.pending] == [False, True]
    assert by_cancel.cancel_delivered_at == by_cancel.last_event_at
    assert told(row, E.COMMAND_DELIVERED, delivers=9).cancel_delivered_at is None


def test_only_the_cancels_own_acknowledgement_counts_as_one() -> None:
    row = told(run_row(), E.RUN_INPUT, requests="input", data=b'{"content":"one"}')
    row = told(row, E.RUN_CANCEL_REQUESTED, requests="cancel")
    assert told(row, E.COMMAND_ACKNOWLEDGED, command_id=1).cancel_acknowledged_at is None
    taken = told(row, E.COMMAND_ACKNOWLEDGED, command_id=2)
    assert taken.cancel_acknowledged_at == taken.last_event_at
    assert told(taken, E.COMMAND_ACKNOWLEDGED, command_id=2).cancel_acknowledged_at == taken.cancel_acknowledged_at
    assert taken.status is Status.CANCELLING
