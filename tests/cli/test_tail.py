"""What `runs tail` prints of events: deltas as text, the rest a line each, and nothing that a terminal obeys."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from towerlog.cli.tail import INTERRUPTED, MAX_SPANS, MAX_TEXT_CHARS, line_of, show_tail
from towerlog.cli.tree import Branch, Remaining, Told
from towerlog.sdk.api.event_members import MEMBERS
from towerlog.sdk.api.shapes import Gap, RunEvent

AT = "03:04:05Z  "


def event(type_: str, **data: Any) -> RunEvent:
    # As the server sends it: what all dialects have stands beside the data as well.
    members = {name: value for name, value in data.items() if name in MEMBERS}
    if type_ == "message.delta" and isinstance(data.get("content"), str):
        members["text"] = data["content"]
    raw = {**members, "seq": 1, "type": type_, "data": data, "created_at": "2026-01-02T03:04:05.678Z"}
    return RunEvent.read(raw)


RUN = Branch("r1")


def told(*events: RunEvent | Gap, of: Branch = RUN) -> list[Told | Remaining]:
    return [Told(of, event) for event in events]


def printed(capsys: pytest.CaptureFixture[str], *events: RunEvent | Gap, as_json: bool = False) -> str:
    show_tail(told(*events), as_json, utc=True)
    return capsys.readouterr().out


def test_deltas_make_one_text(capsys) -> None:
    deltas = [event("message.delta", content=text) for text in ("Hel", "lo\nwor", "ld")]
    assert printed(capsys, *deltas, event("run.completed")) == f"Hello\nworld\n{AT}[run.completed]\n"


def test_a_line_is_not_ended_twice(capsys) -> None:
    assert printed(capsys, event("message.delta", content="a\n"), event("step", name="s")) == f"a\n{AT}[step] s\n"
    assert printed(capsys, event("message.delta", content="a")) == "a\n"
    assert printed(capsys, event("message.delta", content="")) == ""


@pytest.mark.parametrize(
    ("type_", "data", "line"),
    [
        ("tool.call", {"tool": "ls", "arguments": {"p": "/"}}, '[tool.call] ls({"p": "/"})'),
        ("tool.result", {"tool": "ls", "result": "a", "duration_ms": 1500}, "[tool.result] ls ok in 1.5 s → a"),
        ("tool.result", {"tool": "ls", "success": False, "error": "no"}, "[tool.result] ls failed → no"),
        ("tool.result", {"tool": "ls", "duration_ms": "long"}, "[tool.result] ls ok"),
        (
            "model.call",
            {
                "model": "m",
                "input_tokens": 86,
                "total_input_tokens": 2006,
                "cached_input_tokens": 1920,
                "total_output_tokens": 300,
                "cost_usd": 0.01,
            },
            "[model.call] m, 2,006 → 300 (1,920 cached), $0.0100",
        ),
        ("model.call", {"model": "m", "total_output_tokens": 3}, "[model.call] m, ? → 3"),
        ("model.call", {"model": "m", "success": False, "duration_ms": 5}, "[model.call] m, failed, 5 ms"),
        (
            "checkpoint",
            {"thread_id": "t", "trace_id": "x", "step_index": 3, "status": "idle", "total_input_tokens": 7},
            "[checkpoint] step 3, idle, 7 → ?",
        ),
        ("lane.report", {"text": "3 of 10", "phase": "p"}, "[lane.report] 3 of 10"),
        ("budget.exceeded", {"thread_id": "t", "budget_usd": 1}, '[budget.exceeded] {"budget_usd": 1}'),
        ("step", {"name": "plan", "phase": "end", "duration_ms": 20}, "[step] plan end 20 ms"),
        ("step", {"name": "search", "phase": "end", "result": 4}, "[step] search end → 4"),
        ("lane.lost", {"worker_id": "w1", "lease_epoch": 2, "attempt": 1}, "[lane.lost] w1, attempt 1"),
        ("step", {"foreign": True}, '[step] {"foreign": true}'),
        ("run.waiting_for_input", {"question": "Publish?"}, "[run.waiting_for_input] Publish?"),
        ("run.waiting_for_input", {"question_id": 4}, "[run.waiting_for_input] (question 4)"),
        ("run.input", {"content": "yes", "question_id": 4}, "[run.input] yes (question 4)"),
        (
            "run.input",
            {"content": "yes", "question_id": 4, "answered_by": "ada"},
            "[run.input] yes by ada (question 4)",
        ),
        ("run.message", {"content": "hurry", "written_by": "ada"}, "[run.message] hurry by ada"),
        ("run.cancel_requested", {"requested_by": "u"}, "[run.cancel_requested]"),
        ("run.cancel_requested", {"reason": "enough"}, "[run.cancel_requested] enough"),
        ("command.delivered", {"command_id": 3, "type": "cancel"}, "[command.delivered] cancel"),
        ("command.acknowledged", {"command_id": 3, "type": "cancel"}, "[command.acknowledged] cancel"),
        ("command.acknowledged", {"type": "pause", "note": "soon"}, "[command.acknowledged] pause: soon"),
        ("command.acknowledged", {"type": "input", "taken": False}, "[command.acknowledged] input, not taken"),
        ("run.cancelled", {"forced": True, "reason": "killed"}, "[run.cancelled] forced: killed"),
        ("run.cancelled", {"forced": True}, "[run.cancelled] forced"),
        ("run.cancelled", {"reason": "enough"}, "[run.cancelled] enough"),
        ("run.pause_requested", {"reason": "lunch", "requested_by": "u"}, "[run.pause_requested] lunch"),
        ("run.paused", {}, "[run.paused]"),
        ("run.silent", {"silent_since": "t", "silent_seconds": 9}, "[run.silent] no events since t"),
        ("run.lost", {"error": "nothing was heard of it"}, "[run.lost] nothing was heard of it"),
        ("run.failed", {"error": {"code": 1}}, '[run.failed] {"code": 1}'),
        ("other", {"name": "n", "payload": {}}, "[other] n"),
        ("other", {"name": "n", "payload": {"a": 1, "agent_id": "x"}}, '[other] n {"a": 1}'),
        ("run.started", {}, "[run.started]"),
    ],
)
def test_everything_else_is_a_line(type_, data, line) -> None:
    assert line_of(type_, data) == line


def test_long_values_are_cut_and_lines_stay_lines() -> None:
    line = line_of("run.completed", {"result": "x" * 10_000 + "\n"})
    assert len(line) < MAX_TEXT_CHARS + 30
    assert line_of("run.input", {"content": "a\nb\x1b[2J"}) == "[run.input] a\\x0ab\\x1b[2J"


def test_a_delta_cannot_talk_to_the_terminal(capsys) -> None:
    said = printed(capsys, event("message.delta", content="\x1b]0;owned\x07\x9b2J"))
    assert said == "\\x1b]0;owned\\x07\\x9b2J\n"


def test_signs_of_life_are_no_news(capsys) -> None:
    beat = event("other", name="heartbeat")
    delta = event("message.delta", content="a")
    assert printed(capsys, delta, beat, delta) == "aa\n"
    assert json.loads(printed(capsys, beat, as_json=True)) == dict(beat.raw)


def test_data_that_is_no_object_breaks_nothing(capsys) -> None:
    odd = RunEvent.read({"seq": 1, "type": "message.delta", "data": [1], "created_at": "2026-01-02T03:04:05.678Z"})
    assert printed(capsys, odd, event("message.delta", content=7)) == ""


def test_json_is_a_line_for_each_event(capsys) -> None:
    gap = Gap.read({"reason": "another log"})
    lines = printed(capsys, event("message.delta", content="\x1b"), gap, as_json=True).splitlines()
    delta = event("message.delta", content="\x1b").raw
    assert [json.loads(line) for line in lines] == [dict(delta), {"run_id": "r1", "gap": gap.raw}]


def test_what_happens_in_a_step_stands_below_it(capsys) -> None:
    events = [
        event("step", name="plan", phase="start", span_id="s1"),
        event("tool.call", tool="ls", tool_call_id="c1", parent_span_id="s1"),
        event("model.call", model="m", parent_span_id="c1"),
        event("tool.result", tool="ls", tool_call_id="c1", parent_span_id="s1"),
        event("step", name="plan", phase="end", span_id="s1"),
        event("step", name="far", parent_span_id="unknown"),
        event("step", name="odd", parent_span_id=7),
    ]
    assert [line.removeprefix(AT) for line in printed(capsys, *events).splitlines()] == [
        "[step] plan start",
        "  [tool.call] ls()",
        "    [model.call] m",
        "  [tool.result] ls ok",
        "[step] plan end",
        "[step] far",
        "[step] odd",
    ]


def test_spans_are_remembered_within_bounds(capsys) -> None:
    many = [event("step", name="s", span_id=f"s{n}") for n in range(MAX_SPANS + 1)]
    inside = [event("step", name=name, parent_span_id=parent) for name, parent in (("old", "s0"), ("new", "s1000"))]
    assert printed(capsys, *many, *inside).splitlines()[-2:] == [f"{AT}[step] old", f"{AT}  [step] new"]


def test_times_are_those_of_this_machine_unless_asked_otherwise(capsys, monkeypatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        show_tail(told(event("run.started")), False)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert capsys.readouterr().out == "05:04:05  [run.started]\n"


def test_the_time_is_the_senders_own(capsys) -> None:
    raw = {"seq": 1, "type": "step", "data": {"name": "s"}, "created_at": "2026-01-02T03:04:05.678Z", "name": "s"}
    assert printed(capsys, RunEvent.read(raw)) == f"{AT}[step] s\n"
    spooled = RunEvent.read({**raw, "occurred_at": "2026-01-02T01:02:03.004Z"})
    assert printed(capsys, spooled) == "01:02:03Z  [step] s\n"


def test_what_is_stored_after_something_later_of_another_run_says_so(capsys) -> None:
    def at(second: int, name: str) -> RunEvent:
        raw = {"seq": 1, "type": "step", "name": name, "data": {}, "created_at": "2026-01-02T03:05:00Z"}
        return RunEvent.read({**raw, "occurred_at": f"2026-01-02T03:04:{second:02}.500Z"})

    child = Branch("r2", 1, "scout")
    show_tail(
        [*told(at(6, "a"), of=child), *told(at(5, "b"), at(6, "c")), *told(at(5, "d"), of=child), *told(at(5, "e"))],
        False,
        utc=True,
    )
    assert [line.split("[")[0].split() for line in capsys.readouterr().out.splitlines()] == [
        ["03:04:06Z", "scout"],
        ["03:04:05Z", "stored", "later"],
        ["03:04:06Z"],
        ["03:04:05Z", "scout"],
        ["03:04:05Z", "stored", "later"],
    ]


def test_a_gap_is_told_beside_the_events(capsys) -> None:
    show_tail(
        told(event("message.delta", content="a"), Gap.read({"requested": 0, "oldest_seq": 8, "missing": 7})), False
    )
    out, err = capsys.readouterr()
    assert out == "a\n"
    assert "7 events before seq 8" in err


def test_an_interruption_ends_quietly(capsys) -> None:
    def events() -> Iterator[Told | Remaining]:
        yield from told(event("message.delta", content="half"))
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        show_tail(events(), False)
    assert ended.value.code == INTERRUPTED
    assert capsys.readouterr() == ("half\n", "")


def test_what_a_run_below_tells_stands_to_the_right_behind_its_agent(capsys) -> None:
    child, grandchild = Branch("r2", 1, "scout"), Branch("r3", 2, "a very long name of an agent")
    show_tail(
        [
            *told(event("step", name="plan", phase="start", span_id="s1")),
            *told(event("message.delta", content="one\ntwo"), of=child),
            *told(event("message.delta", content=" more\n"), of=child),
            *told(event("message.delta", content="mine")),
            *told(event("message.delta", content="its"), of=child),
            *told(event("tool.call", tool="ls", parent_span_id="s1"), of=child),
            *told(event("run.completed"), of=grandchild),
            Remaining(1),
        ],
        False,
        utc=True,
    )
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{AT}[step] plan start",
        "  scout  one",
        "  scout  two more",
        "mine",
        "  scout  its",
        f"{AT}  scout  [tool.call] ls()",
        f"{AT}    a very long name  [run.completed]",
    ]
    assert "The run has ended. 1 run below it not yet" in err
