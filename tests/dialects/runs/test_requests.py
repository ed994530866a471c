"""What the `runs` dialect is asked: every field, its bounds, and the command that comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.calls import NOW, OTHER_RUN, RUN, call
from tests.support.tables import table
from towerlog import errors
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.fields import MAX_SEQ
from towerlog.dialects.runs import requests
from towerlog.dialects.runs.requests import MAX_INPUT_BYTES
from towerlog.model.command import CancelRun, CreateRun, CreateThread, GiveInput
from towerlog.model.question import FollowRun, GetRun, GetThread, ListRuns, ListThreadRuns, ListThreads, RunFilter
from towerlog.model.run import Status


def create(body: Any = b"", **fields: Any) -> CreateRun:
    return requests.decode_create(call(body, path={"thread_id": "t"}, **fields))


def refused(field: str, act: Any, *arguments: Any, **fields: Any) -> None:
    """The act refuses, and names this field."""
    with pytest.raises(errors.Invalid) as found:
        act(*arguments, **fields)
    assert found.value.field == field
    assert field in found.value.details


@pytest.mark.parametrize(
    "body", [b"", b"  \n", b"null", b"{}", b'{"route_id":null,"persona_id":"","input":null,"labels":null}']
)
def test_all_of_a_new_run_is_optional(body) -> None:
    assert create(body) == CreateRun("t")


def test_an_unknown_member_is_named_with_those_that_there_are() -> None:
    created = "agent, input, labels, metadata, parent_run_id, persona_id, route_id"
    for decode, body, known in (
        (requests.decode_create, {"agnet": "a"}, created),
        (requests.decode_cancel, {"resaon": "x"}, "reason"),
        (requests.decode_input, {"content": "yes", "contnet": "no"}, "asked_seq, content, question_id, type"),
        (requests.decode_create_thread, {"titel": "t"}, "policy, thread_id, title"),
    ):
        with pytest.raises(errors.Invalid) as found:
            decode(call(body, path={"thread_id": "t", "run_id": RUN}))
        assert found.value.details == {list(body)[-1]: f"is not a member of this body; it takes {known}"}


def test_what_a_new_run_may_bring() -> None:
    body = {
        "route_id": "r",
        "persona_id": "p@1",
        "agent": "a",
        "parent_run_id": OTHER_RUN.upper(),
        "input": "count the stars",
        "metadata": {"ticket": "T-1"},
        "labels": {"gpu": "yes"},
    }
    assert create(body) == CreateRun(
        thread_id="t",
        agent="a",
        persona_id="p@1",
        route_id="r",
        parent_run_id=OTHER_RUN,
        input=b'"count the stars"',
        metadata=b'{"ticket": "T-1"}',
        labels={"gpu": "yes"},
    )
    assert create({"input": {"role": "user"}}).input == b'{"role": "user"}'


WRONG = [
    *((name, value) for name in ["route_id", "persona_id", "agent", "parent_run_id"] for value in [7, True, [], {}]),
    *(("parent_run_id", value) for value in ["nope", "a/b"]),
    *((name, "x" * 201) for name in ["route_id", "persona_id", "agent"]),
    *(("input", value) for value in [7, True, []]),
    *(("metadata", value) for value in [7, "text", []]),
    *(("labels", value) for value in [7, "text", [], {"a" * 201: "b"}, {"a": "b" * 201}]),
    ("labels", {f"l{n}": "v" for n in range(65)}),
    ("labels", {f"{n}": "ü" * 200 for n in range(22)}),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=[f"{name}-{n}" for n, (name, _) in enumerate(WRONG)])
def test_a_wrong_field_of_a_new_run_is_named(field, value) -> None:
    refused(field, create, {field: value})


def test_a_label_that_is_no_text_is_named_with_its_map() -> None:
    refused("labels", create, {"labels": {"a": 7}})


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"17", b"true"])
def test_a_body_that_is_no_object_is_refused(body) -> None:
    refused("body", create, body)


def test_a_large_or_deep_input_is_refused() -> None:
    small = DialectSettings(max_event_bytes=100, max_depth=3)
    for value in ["x" * 200, {"x": "y" * 200}]:
        with pytest.raises(errors.TooLarge):
            create({"input": value}, settings=small)
    refused("input", create, {"input": {"a": {"b": {"c": {}}}}}, settings=small)


@pytest.mark.parametrize("thread_id", ["", "a/b", "y" * 201, "a\x01b"])
def test_a_thread_id_that_cannot_be_is_not_found(thread_id) -> None:
    for decode in [requests.decode_create, requests.decode_list_of_thread, requests.decode_get_thread]:
        with pytest.raises(errors.NotFound):
            decode(call(path={"thread_id": thread_id}))


def listed(**query: str) -> ListRuns:
    return requests.decode_list(call(query=query))


def test_every_filter() -> None:
    assert listed() == ListRuns(RunFilter(), 50)
    found = listed(
        limit="7", before=RUN.upper(), status="running", agent="a", thread_id="t", model="m", persona_id="p",
        q="needle", parent_run_id=OTHER_RUN, since="2026-04-02T10:00:00.123Z", until="2026-04-02T12:00:00.123+02:00",
    )  # fmt: skip
    wanted = RunFilter(
        statuses=(Status.RUNNING,), agent="a", thread_id="t", model="m", persona_id="p", q="needle",
        parent_run_id=OTHER_RUN, since=NOW, until=NOW,
    )  # fmt: skip
    assert found == ListRuns(wanted, 7, RUN)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_a_filter(status) -> None:
    assert listed(status=status.value).filter.statuses == (status,)


def test_what_other_dialects_call_an_end_is_a_filter() -> None:
    assert listed(status="success").filter.statuses == (Status.COMPLETED,)
    assert listed(status="error").filter.statuses == (Status.FAILED,)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("status", ["done", "RUNNING", "running,failed", "nil", "\x00"]),
        ("limit", ["0", "201", "-1", "x", "1.5", "1e2", "9" * 20]),
        ("before", ["nonsense", "-1", "\x00"]),
        ("since", ["yesterday", "2026-13-01T00:00:00Z", "1e400"]),
        ("until", ["yesterday"]),
        ("q", ["x" * 201]),
    ],
)
def test_a_wrong_filter_is_named(name, values) -> None:
    for value in values:
        refused(name, listed, **{name: value})


def test_the_runs_of_a_thread() -> None:
    decode = requests.decode_list_of_thread
    assert decode(call(path={"thread_id": "проект"}, query={"limit": "200"})) == ListThreadRuns("проект", 200)
    refused("limit", decode, call(path={"thread_id": "t"}, query={"limit": "201"}))


@table("run_id", ["not-a-uuid", "1", RUN[:-1], RUN + "0", "\x00"])
@table("name", ["get", "cancel", "input", "follow"])
def test_a_run_id_is_a_uuid(name, run_id) -> None:
    decode = getattr(requests, f"decode_{name}")
    with pytest.raises(errors.NotFound):
        decode(call({"content": "x"}, path={"run_id": run_id}))


def test_no_body_may_be_written_as_null() -> None:
    """As `JSON.stringify(null)` and a nil of Go have it."""
    assert requests.decode_cancel(call(b"null", path={"run_id": RUN})) == CancelRun(RUN)
    assert requests.decode_create_thread(call(b" null\n")) == CreateThread()


def test_one_run_and_its_cancel() -> None:
    assert requests.decode_get(call(path={"run_id": RUN.upper()})) == GetRun(RUN)
    assert requests.decode_cancel(call(path={"run_id": RUN})) == CancelRun(RUN)
    assert requests.decode_cancel(call({"reason": "enough"}, path={"run_id": RUN})) == CancelRun(RUN, "enough")
    refused("reason", requests.decode_cancel, call({"reason": 7}, path={"run_id": RUN}))


def give(body: Any) -> GiveInput:
    return requests.decode_input(call(body, path={"run_id": RUN}))


def test_an_input_is_kept_as_it_is() -> None:
    assert give({"content": " yes\n"}) == GiveInput(RUN, " yes\n")
    assert give({"content": "ä" * (MAX_INPUT_BYTES // 2)}).content
    assert give({"content": "x" * MAX_INPUT_BYTES}).content


@pytest.mark.parametrize(
    "content",
    [None, "", " \n\t ", 7, ["yes"], {}, "x" * (MAX_INPUT_BYTES + 1), "ä" * (MAX_INPUT_BYTES // 2 + 1)],
)
def test_a_wrong_input_is_named(content) -> None:
    refused("content", give, {"content": content})
    refused("content", give, {})


def test_an_input_says_whether_it_is_an_answer() -> None:
    assert give({"content": "yes", "type": "input", "question_id": 4}) == GiveInput(RUN, "yes", 4, "input")
    assert give({"content": "yes", "question_id": "4"}) == give({"content": "yes", "question_id": 4.0})
    assert give({"content": "yes", "question_id": "4"}).question_id == 4
    assert give({"content": "hi", "type": "message"}) == GiveInput(RUN, "hi", None, "message")
    assert give({"content": "hi", "type": None}) == GiveInput(RUN, "hi")
    refused("type", give, {"content": "hi", "type": "answer"})
    refused("question_id", give, {"content": "hi", "type": "message", "question_id": 4})


def follow(query: dict[str, str], seen: bytes = b"") -> FollowRun:
    headers = {b"last-event-id": seen} if seen else {}
    return requests.decode_follow(call(path={"run_id": RUN}, query=query, headers=headers))


def test_a_cursor_is_a_seq_with_or_without_the_log_it_is_of() -> None:
    assert follow({}) == FollowRun(RUN, 0, True)
    assert follow({"after_seq": "42", "follow": "false"}) == FollowRun(RUN, 42, False)
    assert follow({"after_seq": "e7f3-42"}).after_seq == 42
    assert follow({"after_seq": "9"}, b"e1-3").after_seq == 3
    assert follow({"after_seq": "9"}, b"0").after_seq == 0
    assert follow({"after_seq": str(2**63)}).after_seq == MAX_SEQ


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "0x1", "1e1", "\x00", "9" * 23 + "x", "+1", " 1", "e-"])
def test_a_cursor_that_is_no_number_is_refused(value) -> None:
    refused("after_seq", follow, {"after_seq": value})
    refused("Last-Event-ID", follow, {}, value.encode())


def test_follow_is_true_or_false() -> None:
    assert follow({"follow": ""}).follow is True
    refused("follow", follow, {"follow": "no"})


def test_threads() -> None:
    made = requests.decode_create_thread
    assert made(call()) == made(call(b"{}")) == CreateThread()
    assert made(call({"thread_id": "t", "title": "T", "policy": "reject"})) == CreateThread("t", "T", "reject")
    for field, value in [("thread_id", "a/b"), ("thread_id", 7), ("title", "x" * 201), ("policy", "never")]:
        refused(field, made, call({field: value}))
    assert requests.decode_list_threads(call(query={"limit": "3", "before": "t"})) == ListThreads(3, "t")
    assert requests.decode_get_thread(call(path={"thread_id": "t"})) == GetThread("t")
