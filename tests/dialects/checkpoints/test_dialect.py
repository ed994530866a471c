"""The `checkpoints` dialect: batches in, what became of them out; the state to resume from; approvals; errors."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.test_base import every_error
from tests.support.calls import body_of, endpoint_of, make_call, tried
from tests.support.factories import run_row
from towerlog import errors
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.checkpoints.dialect import DIALECT, STATUS_OF, STATUS_WORDS
from towerlog.errors import Invalid, Malformed, NotFound, TowerlogError
from towerlog.model.approval import ApprovalKind
from towerlog.model.approval_views import ApprovalView
from towerlog.model.checkpoint import CheckpointRow, CheckpointView
from towerlog.model.command import Append, Decide
from towerlog.model.event import AgentHeartbeat, Draft, EventType, Refusal
from towerlog.model.outcome import Appended, Decided, Page, Stored
from towerlog.model.pending import Pending
from towerlog.model.principal import Scope
from towerlog.model.question import LatestCheckpoint, ListApprovals
from towerlog.model.run import Status
from towerlog.projections.approvals import of_checkpoint

EVENTS = endpoint_of(DIALECT, "POST", "/v1/runners/events")
LATEST = endpoint_of(DIALECT, "GET", "/v1/runners/threads/{thread_id}/latest")
APPROVALS = endpoint_of(DIALECT, "GET", "/approvals")
APPROVE = endpoint_of(DIALECT, "POST", "/approvals/{trace_id}/{step_index}/approve")
REJECT = endpoint_of(DIALECT, "POST", "/approvals/{trace_id}/{step_index}/reject")
START = {"type": "thread_started", "data": {"thread_id": "t", "trace_id": "x"}}
TURN = {
    "type": "checkpoint",
    "data": {"thread_id": "t", "trace_id": "x", "step_index": 1, "history": [{"role": "user"}]},
}
OUTSIDE = {"type": "heartbeat", "data": {"agent_id": "a"}}
ROW = CheckpointRow(1, 2, "researcher", 3, "t", "idle", 4, 5, "node", 2, True, "digest", 7, 8)


def append(body: Any, **options: Any) -> Append:
    """The command of a batch; anything but bytes is its list of events."""
    command = EVENTS.decode(make_call(body if isinstance(body, bytes) else {"events": body}, **options))
    assert isinstance(command, Append)
    assert (command.dialect, command.agent_id) == ("checkpoints", None)
    return command


def replied(*results: Stored | Refusal, body: Any = b'{"events":[]}') -> tuple[int, Any]:
    """Status and JSON of the reply to a batch."""
    reply = EVENTS.encode(Appended(list(results)), EVENTS.decode(make_call(body)), make_call())
    return reply.status, body_of(reply)


def test_a_batch_becomes_one_item_an_event() -> None:
    start, turn, touch = append([START, TURN, OUTSIDE]).items
    assert isinstance(start, Draft)
    assert isinstance(turn, Draft)
    assert (start.type, turn.type, touch) == (EventType.RUN_STARTED, EventType.CHECKPOINT, AgentHeartbeat("a"))


def test_an_empty_batch_is_fine() -> None:
    assert append([]).items == []
    assert replied() == (200, {"saved": 0})


BAD: list[tuple[Any, str]] = [
    *(({**START, **wrong}, field) for wrong, field in (({"type": 3}, "type"), ({"type": None}, "type"))),
    *(({**START, **wrong}, field) for wrong, field in (({"type": ""}, "type"), ({"data": []}, "data"))),
    *(({**START, **wrong}, field) for wrong, field in (({"data": None}, "data.thread_id"), ({"data": "x"}, "data"))),
    ({"data": {}}, "type"),
    ({"type": "x"}, "data.thread_id"),
    ({**START, "event_id": 5}, "event_id"),
    ({"type": "checkpoint", "data": {"thread_id": "t", "step_index": -1}}, "data.step_index"),
    *((item, "event") for item in ("text", 7, None, [], True, -1.5)),
]


@pytest.mark.parametrize(("bad", "field"), BAD, ids=str)
def test_one_bad_event_is_refused_at_its_place(bad: Any, field: str) -> None:
    first, second, third = append([START, bad, TURN]).items
    assert isinstance(first, Draft)
    assert isinstance(second, Refusal)
    assert isinstance(third, Draft)
    assert (second.code, second.field) == ("validation_failed", field)
    assert second.message.startswith(f"{field}: ")


@pytest.mark.parametrize("occurred_at", [12, "yesterday", "0001-01-01T00:00:00Z", ["now"]])
def test_a_time_that_cannot_be_used_is_kept_and_named_by_index(occurred_at: Any) -> None:
    command = append([START, {**START, "occurred_at": occurred_at, "sequence_num": "first"}, TURN])
    assert all(isinstance(item, Draft) for item in command.items)
    assert [(warning.index, warning.field) for warning in command.warnings] == [(1, "occurred_at")]
    odd = command.items[1]
    assert isinstance(odd, Draft)
    assert odd.occurred_at is None
    assert json.loads(odd.data)["towerlog_invalid"] == {"occurred_at": occurred_at}


def test_the_neighbours_of_a_bad_event_are_what_they_would_be_without_it() -> None:
    good = [START, TURN, OUTSIDE]
    mixed = append([*good, 7]).items
    for alone, beside in zip(append(good).items, mixed, strict=False):
        said = [msgspec.to_builtins(one, builtin_types=(bytes,), enc_hook=list) for one in (alone, beside)]
        assert said[0] == said[1]


def test_an_event_that_is_too_large_is_refused_at_its_place() -> None:
    large = {"type": "note", "data": {"thread_id": "t", "text": "x" * 2000}}
    good, bad = append([START, large], settings=DialectSettings(max_event_bytes=1000)).items
    assert isinstance(good, Draft)
    assert isinstance(bad, Refusal)
    assert (bad.code, bad.field) == ("too_large", "data")


@pytest.mark.parametrize("body", [b"", b"{", b"events", b"{'events': []}", b'{"events": [}', b'{"events":[{"a":NaN}]}'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        append(body)


@pytest.mark.parametrize("body", [b"{}", b'{"events":null}', b'{"events":{}}', b'{"events":"all"}'])
def test_a_batch_needs_an_array_of_events(body: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        append(body)
    assert caught.value.field == "events"


@pytest.mark.parametrize("body", [b"[]", b"null", b"7"])
def test_a_batch_is_an_object(body: bytes) -> None:
    with pytest.raises(Invalid, match="body: Expected `object`"):
        append(body)


def test_a_thousand_events_are_a_batch_and_no_more() -> None:
    assert len(append([START] * 1000).items) == 1000
    assert len(append([START] * 999 + [7]).items) == 1000
    for last in (START, 7):
        with pytest.raises(Invalid, match=r"^events: has more than 1000 items"):
            append([START] * 1000 + [last])


@pytest.mark.parametrize("item", [b"1", b"{}", b"[[],[]]", b'{"type":"x","data":{"data":[]}}'])
def test_a_flood_of_tiny_events_is_refused(item: bytes) -> None:
    with pytest.raises(Invalid, match=r"^events: has more than 1000 items"):
        append(b'{"events":[' + b",".join([item] * 100_000) + b"]}")


def test_a_flood_costs_little_more_than_its_size() -> None:
    body = b'{"events":[' + b",".join([b'{"type":"","data":{}}'] * 200_000) + b"]}"
    tracemalloc.start()
    try:
        assert isinstance(tried(lambda: append(body)), Invalid)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * len(body)


def test_a_batch_that_speaks_much_of_data_is_no_flood() -> None:
    deep = {"type": "note", "data": {"thread_id": "t", "rows": [{"data": n} for n in range(10_000)]}}
    [item] = append([deep]).items
    assert isinstance(item, Draft)


def test_endless_nesting_is_refused() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(Invalid, match="Nested too deeply"):
        append(b'{"events":[{"type":"x","data":{"thread_id":"t","a":' + deep + b"}}]}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "data", "thread_id", "event_id", "history"]), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.lists(JSON | st.sampled_from([START, TURN, OUTSIDE]), max_size=6))
def test_any_events_are_items_in_their_order(events: list[Any]) -> None:
    items = append(events).items
    assert len(items) == len(events)
    for event, item in zip(events, items, strict=True):
        if event in (START, TURN, OUTSIDE):
            assert not isinstance(item, Refusal)


@given(st.binary())
def test_any_body_is_a_batch_or_an_error_of_ours(body: bytes) -> None:
    found = tried(lambda: append(body))
    assert isinstance(found, Append) or 400 <= DIALECT.explain(found, "trace").status < 500


def test_saved_counts_what_is_durable() -> None:
    again = Stored(7, 1, "r", duplicate=True)
    assert replied(Stored(8, 2, "r"), again, Stored(0, 0, "", agent="a")) == (200, {"saved": 3})


def test_refusals_come_back_by_index_with_code_and_message() -> None:
    reused = Refusal("id_reused", "used before", "event_id")
    assert replied(Stored(7, 1, "r"), reused) == (
        200,
        {"saved": 1, "rejected": [{"index": 1, "code": "id_reused", "message": "used before"}]},
    )


def test_all_refused_is_a_422_with_the_same_body() -> None:
    status, body = replied(Refusal("validation_failed", "no"), Refusal("too_large", "no"))
    assert (status, body["saved"], [one["index"] for one in body["rejected"]]) == (422, 0, [0, 1])


def test_commands_come_once_each_with_the_thread_that_was_named() -> None:
    cancel, talk = Pending(4, "cancel"), Pending(5, "input", "yes")
    status, body = replied(
        Refusal("validation_failed", "no"),
        Stored(7, 1, "run-1", commands=(cancel,)),
        Stored(8, 2, "run-1", commands=(cancel, talk)),
        Stored(9, 1, "run-2", commands=(cancel,)),
        body={"events": [7, START, TURN, {"type": "x", "data": {"thread_id": "u"}}]},
    )
    assert status == 200
    assert body["commands"] == [
        {"type": "cancel", "command_id": 4, "run_id": "run-1", "thread_id": "t"},
        {"type": "input", "command_id": 5, "run_id": "run-1", "thread_id": "t", "content": "yes"},
        {"type": "cancel", "command_id": 4, "run_id": "run-2", "thread_id": "u"},
    ]


def test_latest_asks_for_a_thread() -> None:
    assert LATEST.decode(make_call(thread_id="a b")) == LatestCheckpoint("a b")
    for impossible in ("", "x" * 201, "a/b", "a\x00"):
        with pytest.raises(NotFound):
            LATEST.decode(make_call(thread_id=impossible))


def view(figures: bytes, meta: list[bytes] | None = None) -> CheckpointView:
    """A checkpoint of two messages read back."""
    return CheckpointView(ROW, "run", "x", figures, [b'{"n":1.50,"a":1}', b"null"], meta)


def test_latest_gives_everything_back_as_it_was_sent() -> None:
    figures = b'{"turn_start_history_len":4,"pending_tool_calls":[{"id":"c","args":{"b":1.0,"a":2}}],"other":1}'
    reply = LATEST.encode(view(figures, [b'{"ts":"now"}', b"{}"]), None, make_call())
    assert reply.status == 200
    assert reply.body == (
        b'{"thread_id":"t","trace_id":"x","step_index":3,"status":"idle","history":[{"n":1.50,"a":1},null],'
        b'"history_meta":[{"ts":"now"},{}],"turn_start_history_len":4,'
        b'"pending_tool_calls":[{"id":"c","args":{"b":1.0,"a":2}}],'
        b'"checkpoint":{"history":[{"n":1.50,"a":1},null]}}'
    )


@pytest.mark.parametrize("figures", [b"{}", b'{"pending_tool_calls":null,"turn_start_history_len":null}'])
def test_what_was_not_sent_is_null_or_empty(figures: bytes) -> None:
    body = body_of(LATEST.encode(view(figures), None, make_call()))
    assert (body["history_meta"], body["turn_start_history_len"], body["pending_tool_calls"]) == (None, None, [])


def test_approvals_are_listed_with_the_calls_that_wait() -> None:
    row = of_checkpoint(msgspec.structs.replace(ROW, status="waiting_for_approval"))
    assert row is not None
    waiting = ApprovalView(row, run_row(trace_id="x", thread_id="t"), b'{"pending_tool_calls":[{"id":"c"}]}')
    kind = ApprovalKind.APPROVAL
    assert APPROVALS.decode(make_call()) == ListApprovals(1000, kind=kind)
    assert APPROVALS.decode(make_call(query={"limit": "5"})) == ListApprovals(5, kind=kind)
    assert body_of(APPROVALS.encode(Page([waiting]), None, make_call())) == [
        {
            "trace_id": "x",
            "thread_id": "t",
            "agent_id": "researcher",
            "step_index": 3,
            "pending_tool_calls": [{"id": "c"}],
            "created_at": "1970-01-01T00:00:00.007Z",
        }
    ]


@pytest.mark.parametrize("limit", ["0", "1001", "all"])
def test_a_wrong_limit_is_named(limit: str) -> None:
    with pytest.raises(Invalid) as caught:
        APPROVALS.decode(make_call(query={"limit": limit}))
    assert caught.value.field == "limit"


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b'{"agent_id":"","reason":null}'])
def test_a_decision_needs_no_body(body: bytes) -> None:
    assert APPROVE.decode(make_call(body, trace_id="x", step_index="4")) == Decide("x", 4, "approved")
    assert REJECT.decode(make_call(body, trace_id="x", step_index="4")) == Decide("x", 4, "rejected")


def test_a_decision_may_name_the_agent_and_the_reason() -> None:
    call = make_call({"agent_id": "a", "reason": "too risky"}, trace_id="x", step_index="0")
    assert REJECT.decode(call) == Decide("x", 0, "rejected", "a", "too risky")
    for field in ("agent_id", "reason"):
        with pytest.raises(Invalid) as caught:
            REJECT.decode(make_call({field: 7}, trace_id="x", step_index="0"))
        assert caught.value.field == field


@pytest.mark.parametrize("step", ["-1", "one", "", "1.0", "+1", "٣", "1\n", "9" * 17])
def test_a_step_that_cannot_be_is_not_found(step: str) -> None:
    with pytest.raises(NotFound):
        APPROVE.decode(make_call(trace_id="x", step_index=step))


def test_a_decision_is_answered_with_the_checkpoint() -> None:
    reply = APPROVE.encode(Decided("x", 4, "approved"), None, make_call())
    assert (reply.status, body_of(reply)) == (200, {"ok": True, "trace_id": "x", "step_index": 4, "status": "approved"})


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_is_a_detail(error: TowerlogError) -> None:
    reply = DIALECT.explain(error, "trace")
    assert 400 <= reply.status < 600
    assert body_of(reply) == {"detail": error.message}


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (errors.Malformed(), 400, None),
        (errors.Unauthenticated(), 401, (b"www-authenticate", b"Bearer")),
        (errors.Forbidden(), 403, None),
        (NotFound("thread"), 404, None),
        (errors.NotWaiting(), 409, None),
        (errors.InProgress(retry_after=1), 409, (b"retry-after", b"1")),
        (errors.TooLarge(), 413, None),
        (Invalid("events: is required", field="events"), 422, None),
        (errors.RateLimited(retry_after=30), 429, (b"retry-after", b"30")),
        (errors.Internal(), 500, None),
        (errors.Overloaded(), 503, (b"retry-after", b"1")),
        (errors.StorageFailed(), 503, (b"retry-after", b"1")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_form_of_an_error(error: TowerlogError, status: int, header: tuple[bytes, bytes] | None) -> None:
    reply = DIALECT.explain(error, "trace")
    assert (reply.status, reply.headers) == (status, (header,) if header else ())


def test_both_prefixes_are_the_same_door() -> None:
    for one in (EVENTS, LATEST):
        local = endpoint_of(DIALECT, one.method, f"/internal{one.path}")
        assert (local.decode, local.encode, local.scopes) == (one.decode, one.encode, one.scopes)


def test_what_each_door_asks_for() -> None:
    asked = {(one.method, one.path): one.scopes - {Scope.ADMIN} for one in DIALECT.endpoints}
    assert asked == {
        ("POST", "/v1/runners/events"): {Scope.INGEST},
        ("POST", "/internal/v1/runners/events"): {Scope.INGEST},
        ("GET", "/v1/runners/threads/{thread_id}/latest"): {Scope.READ, Scope.INGEST},
        ("GET", "/internal/v1/runners/threads/{thread_id}/latest"): {Scope.READ, Scope.INGEST},
        ("GET", "/approvals"): {Scope.CONTROL},
        ("POST", "/approvals/{trace_id}/{step_index}/approve"): {Scope.CONTROL},
        ("POST", "/approvals/{trace_id}/{step_index}/reject"): {Scope.CONTROL},
    }
    assert len({one.name for one in DIALECT.endpoints}) == len(DIALECT.endpoints)


def test_the_types_of_bodies_can_be_documented() -> None:
    types = [one for end in DIALECT.endpoints for one in (end.request, end.reply, end.query) if one is not None]
    _, components = msgspec.json.schema_components(types)
    assert components["RunnerEvent"]["required"] == ["type"]
    assert components["RunnerEvent"]["properties"]["data"]["type"] == "object"
    assert json.dumps(components)


def test_the_words_are_total() -> None:
    assert set(STATUS_WORDS) == set(Status)
    assert set(STATUS_WORDS.values()) <= set(STATUS_OF)
