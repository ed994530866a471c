"""Spans: a step is one event or two, a tool call always two, and each knows the one it is inside of."""

from contextvars import copy_context

import pytest

from tests.sdk.support.sinks import ListSink
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.run_handles import Run


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def run(sink: ListSink) -> Run:
    return Run(sink, "r1")


def test_a_step_alone_is_one_event_at_once(run: Run, sink: ListSink) -> None:
    run.step("mark", {"a": 1})
    assert [(d["name"], d.get("phase"), d["payload"]) for d in sink.data] == [("mark", None, {"a": 1})]


def test_a_step_as_a_block_is_a_start_and_an_end_and_no_third(run: Run, sink: ListSink) -> None:
    with run.step("part"):
        assert [d["phase"] for d in sink.data] == ["start"]
    start, end = sink.data
    assert (end["phase"], end["span_id"], "error" in end) == ("end", start["span_id"], False)
    assert end["duration_ms"] >= 0


def test_a_step_that_is_kept_is_told_before_what_follows(run: Run, sink: ListSink) -> None:
    kept = run.step("kept")
    run.message_delta("x")
    assert sink.types == ["step", "message.delta"]
    del kept
    assert sink.types == ["step", "message.delta"]


def test_a_step_that_is_kept_is_told_before_the_end(run: Run, sink: ListSink) -> None:
    kept = run.step("kept")
    run.complete()
    assert sink.types == ["step", "run.completed"]
    del kept


def test_an_exception_stands_in_the_end_and_goes_on(run: Run, sink: ListSink) -> None:
    with pytest.raises(ValueError, match="no"), run.step("part"):
        raise ValueError("no")
    assert sink.data[-1]["error"] == "ValueError: no"


def test_a_span_inside_another_names_it(run: Run, sink: ListSink) -> None:
    with run.step("outer") as outer:
        run.step("mark")
        with run.tool_call("t") as call:
            pass
    parents = [data.get("parent_span_id") for data in sink.data]
    assert parents == [None, outer.span_id, outer.span_id, outer.span_id, None]
    assert call.tool_call_id != outer.span_id


def test_a_tool_call_tells_its_arguments_and_its_result(run: Run, sink: ListSink) -> None:
    with run.tool_call("search", arguments={"q": "x"}) as call:
        call.result = [1]
    began, ended = sink.data
    assert sink.types == ["tool.call", "tool.result"]
    assert (began["tool"], began["arguments"]) == ("search", {"q": "x"})
    assert (ended["tool_call_id"], ended["success"], ended["result"]) == (began["tool_call_id"], True, [1])


def test_a_tool_that_raises_has_failed_and_the_exception_goes_on(run: Run, sink: ListSink) -> None:
    with pytest.raises(OSError, match="gone"), run.tool_call("t"):
        raise OSError("gone")
    assert (sink.data[-1]["success"], sink.data[-1]["error"]) == (False, "OSError: gone")


def test_a_tool_can_fail_without_an_exception(run: Run, sink: ListSink) -> None:
    with run.tool_call("t") as call:
        call.fail("nothing found")
    assert (sink.data[-1]["success"], sink.data[-1]["error"]) == (False, "nothing found")


def test_a_tool_call_ends_once(run: Run, sink: ListSink) -> None:
    call = run.tool_call("t").begin()
    call.finish()
    call.finish()
    assert sink.types == ["tool.call", "tool.result"]


def test_spans_that_end_crosswise_leave_nothing_behind(run: Run, sink: ListSink) -> None:
    """As those of two generators do that take turns."""
    first, second = run.tool_call("first"), run.tool_call("second")
    first.begin()
    second.begin()
    first.finish()
    run.step("between")
    second.finish()
    run.step("after")
    said = {data.get("name") or data["tool"]: data.get("parent_span_id") for data in sink.data}
    assert said == {"first": None, "second": first.tool_call_id, "between": second.tool_call_id, "after": None}


def test_an_open_span_of_another_run_is_no_parent(run: Run, sink: ListSink) -> None:
    other = Run(ListSink(), "other")
    never_finished = other.tool_call("endless").begin()
    with run.step("mine") as mine:
        run.step("inner")
    assert [data.get("parent_span_id") for data in sink.data] == [None, mine.span_id, None]
    never_finished.finish()
    with other.step("again"), run.tool_call("nested") as nested:
        other.step("deep")
    assert nested.tool_call_id is not None
    assert "parent_span_id" not in sink.data[-2]


def test_a_span_that_ends_in_another_context_is_no_parent_where_it_began(run: Run, sink: ListSink) -> None:
    call = run.tool_call("elsewhere").begin()
    copy_context().run(call.finish)
    run.step("after")
    assert "parent_span_id" not in sink.data[-1]


def test_a_tool_whose_work_was_cancelled_was_interrupted_and_did_not_fail_by_itself(run: Run, sink: ListSink) -> None:
    with pytest.raises(RunCancelled), run.tool_call("t"):
        raise RunCancelled("never mind")
    told = sink.data[-1]
    assert (told["success"], told["interrupted"], told["error"]) == (False, True, "RunCancelled: never mind")
