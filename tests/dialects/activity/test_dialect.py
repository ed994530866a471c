"""The `activity` dialect: what may be pushed, what becomes of it, and how the feed is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.calls import AGENT, NOW, OTHER_RUN, call, endpoint, event
from towerlog import errors
from towerlog.dialects.activity.dialect import DIALECT
from towerlog.dialects.activity.feed import feed_event
from towerlog.dialects.activity.pushes import MAX_EVENTS
from towerlog.dialects.base import DialectSettings
from towerlog.model.agent import AgentRow
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, OpenRun, Refusal, RunById, cursor_text
from towerlog.model.outcome import Appended, DamagedPlace, FeedPage, Stored
from towerlog.model.question import FollowAgent, Tail
from towerlog.model.usage import Usage, UsageReport

SEED_EVENT = {
    "id": "7b0c4a6e-2f4b-4c43-9a64-0d9d1d6d9d11",
    "timestamp": "2023-11-07T05:31:56Z",
    "type": "command_start",
    "tool": "shell",
    "input_summary": "<string>",
    "output_summary": "<string>",
    "duration_ms": 123,
    "success": True,
    "metadata": {},
}
CALL_METADATA = {
    "model_name": "claude-3-5-sonnet",
    "request_type": "chat",
    "status": "success",
    "input_tokens": 310,
    "output_tokens": 110,
    "cost_usd": 0.00231,
}
PUSH, FEED = endpoint(DIALECT, "activity.push"), endpoint(DIALECT, "activity.events")


def pushed(body: Any, content_type: str = "application/json", settings: DialectSettings | None = None) -> Append:
    """The command of a push."""
    headers = {b"content-type": content_type.encode()}
    command = PUSH.decode(call(body, path={"id": AGENT}, headers=headers, settings=settings or DialectSettings()))
    assert isinstance(command, Append)
    return command


def draft_of(**fields: Any) -> Draft:
    """The draft of one pushed event."""
    (item,) = pushed({"type": "command_start", **fields}).items
    assert isinstance(item, Draft), item
    return item


def refusal_of(event: Any) -> Refusal:
    """Why one pushed event is not stored."""
    (item,) = pushed([event]).items
    assert isinstance(item, Refusal), item
    return item


def test_the_seeds_event_is_taken_as_it_stands() -> None:
    command = pushed(SEED_EVENT)
    (draft,) = command.items
    assert command.agent_id == AGENT
    assert isinstance(draft, Draft)
    assert draft.type is EventType.TOOL_CALL
    assert json.loads(draft.data) == SEED_EVENT
    assert draft.event_id == SEED_EVENT["id"]
    assert draft.occurred_at == 1_699_335_116_000
    assert draft.facts.name == "command_start"
    assert draft.facts.tool == "shell"


@pytest.mark.parametrize(
    ("type_", "expected", "tool"),
    [
        ("command_start", EventType.TOOL_CALL, "shell"),
        ("command_complete", EventType.TOOL_RESULT, "shell"),
        ("file_read", EventType.TOOL_RESULT, "filesystem"),
        ("file_write", EventType.TOOL_RESULT, "filesystem"),
        ("directory_list", EventType.TOOL_RESULT, "filesystem"),
        ("identity_read", EventType.TOOL_RESULT, "identity"),
        ("health_check", EventType.TOOL_RESULT, "health"),
        ("inference_complete", EventType.MODEL_CALL, "inference"),
        ("inference_error", EventType.MODEL_CALL, "inference"),
        ("inference_rate_limited", EventType.MODEL_CALL, "inference"),
        ("inference_budget_exceeded", EventType.MODEL_CALL, "inference"),
        ("inference_client_disconnect", EventType.MODEL_CALL, "inference"),
    ],
)
def test_every_type_has_its_place_and_its_tool(type_, expected, tool) -> None:
    draft = draft_of(type=type_)
    assert (draft.type, draft.facts.tool, draft.facts.name) == (expected, tool, type_)


def test_a_model_call_says_what_it_cost() -> None:
    facts = draft_of(type="inference_complete", metadata=CALL_METADATA, duration_ms=740).facts
    usage = Usage(input_tokens=310, output_tokens=110, cost_nanos=2_310_000)
    assert facts.effects.report == UsageReport(usage, "delta")
    assert (facts.effects.model, facts.success, facts.duration_ms) == ("claude-3-5-sonnet", True, 740)
    assert draft_of(type="inference_error").facts.success is False


@pytest.mark.parametrize(
    ("metadata", "run"),
    [
        ({}, OpenRun(AGENT, reopen=True)),
        (None, OpenRun(AGENT, reopen=True)),
        ({"thread_id": "", "session_id": None}, OpenRun(AGENT, reopen=True)),
        ({"thread_id": "t"}, OpenRun("t")),
        ({"session_id": "s"}, OpenRun("s")),
        ({"thread_id": "t", "session_id": "s"}, OpenRun("t")),
        ({"thread_id": "t", "run_id": OTHER_RUN.upper()}, RunById(OTHER_RUN)),
    ],
)
def test_the_metadata_names_the_run(metadata, run) -> None:
    assert draft_of(metadata=metadata).run == run
    assert draft_of(type="inference_complete", metadata=metadata).run == run


def test_commands_are_paired_by_their_metadata_and_what_stands_alone_by_its_id() -> None:
    start, done = draft_of(id="a"), draft_of(id="b", type="command_complete", metadata={"tool_call_id": "c1"})
    alone = draft_of(id="d", type="file_read")
    assert start.facts.tool_call_id is None
    assert done.facts.tool_call_id == json.loads(done.data)["tool_call_id"] == "c1"
    assert alone.facts.tool_call_id == json.loads(alone.data)["tool_call_id"] == "d"


def test_a_long_summary_is_cut_and_the_rest_is_kept() -> None:
    draft = draft_of(input_summary="é" * 300, unknown={"kept": [1]})
    data = json.loads(draft.data)
    assert len(data["input_summary"]) == 200
    assert data["unknown"] == {"kept": [1]}
    assert len(json.loads(draft_of(input_summary="x" * 200).data)["input_summary"]) == 200


WRONG = [
    ({}, "type"),
    ({"type": ""}, "type"),
    ({"type": "t" * 201}, "type"),
    ({"type": 7}, "type"),
    ({"id": 7}, "id"),
    ({"id": "a/b"}, "id"),
    ({"id": ".."}, "id"),
    ({"id": "i" * 201}, "id"),
    ({"metadata": {"run_id": 7}}, "metadata.run_id"),
]


@pytest.mark.parametrize(("fields", "field"), WRONG, ids=[f"{field}-{n}" for n, (_, field) in enumerate(WRONG)])
def test_a_wrong_field_is_named(fields, field) -> None:
    refused = refusal_of({"type": "command_start", **fields} if fields else {})
    assert refused.code == "validation_failed"
    assert refused.field == field
    assert refused.message.startswith(field)


DETAILS = [
    ({"tool": "hammer"}, "tool"),
    ({"tool": "inference"}, "tool"),
    ({"type": "inference_complete", "tool": "shell"}, "tool"),
    ({"timestamp": "yesterday"}, "timestamp"),
    ({"timestamp": "0001-01-01T00:00:00Z"}, "timestamp"),
    ({"timestamp": 7}, "timestamp"),
    ({"input_summary": 7}, "input_summary"),
    ({"output_summary": []}, "output_summary"),
    ({"duration_ms": -1}, "duration_ms"),
    ({"duration_ms": "soon"}, "duration_ms"),
    ({"success": "true"}, "success"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"thread_id": 7}}, "metadata.thread_id"),
    ({"metadata": {"session_id": "a\nb"}}, "metadata.session_id"),
    ({"metadata": {"session_id": "feature/login"}}, "metadata.session_id"),
    ({"metadata": {"tool_call_id": {}}}, "metadata.tool_call_id"),
    ({"type": "inference_complete", "metadata": {"input_tokens": "many"}}, "metadata.input_tokens"),
    ({"type": "inference_complete", "metadata": {"output_tokens": -1}}, "metadata.output_tokens"),
    ({"type": "inference_complete", "metadata": {"cost_usd": "cheap"}}, "metadata.cost_usd"),
    ({"type": "inference_complete", "metadata": {"cost_usd": -0.1}}, "metadata.cost_usd"),
    ({"type": "inference_complete", "metadata": {"model_name": 7}}, "metadata.model_name"),
]


@pytest.mark.parametrize(("fields", "field"), DETAILS, ids=[f"{field}-{n}" for n, (_, field) in enumerate(DETAILS)])
def test_a_detail_that_cannot_be_used_costs_no_event_and_is_shown_all_the_same(fields, field) -> None:
    sent = {"type": "command_start", "id": "i", **fields}
    command = pushed([{"type": "health_check"}, sent])
    assert [(warning.index, warning.field) for warning in command.warnings] == [(1, field)]
    draft = command.items[1]
    assert isinstance(draft, Draft)
    kept = json.loads(draft.data)
    assert {name: kept[name] for name in sent} == sent
    stored = event(draft.type, draft.data, draft.facts, dialect="activity")
    shown = feed_event(stored, "epoch")
    assert shown is not None
    assert shown.type == sent["type"]


def test_figures_may_be_written_as_text_or_with_a_fraction() -> None:
    metadata = {"input_tokens": "310", "cost_usd": "0.1"}
    facts = draft_of(type="inference_complete", duration_ms=740.5, metadata=metadata).facts
    assert facts.duration_ms == 740
    assert facts.effects is not None
    assert facts.effects.report == UsageReport(Usage(input_tokens=310, cost_nanos=100_000_000), "delta")


def test_an_unknown_type_is_kept_under_its_own_name_and_not_shown() -> None:
    draft = draft_of(type="nonsense")
    assert (draft.type, draft.facts.name) == (EventType.OTHER, "nonsense")
    assert feed_event(event(draft.type, draft.data, draft.facts, dialect="activity"), "epoch") is None


def test_a_long_id_of_a_tool_call_pairs_it() -> None:
    call_id = "call_" + "x+/" * 1500
    assert draft_of(metadata={"tool_call_id": call_id}).facts.tool_call_id == call_id


def test_lines_are_repaired_one_by_one() -> None:
    lines = [
        b'\xef\xbb\xbf{"type":"file_read"}',
        b'{"type":"health_check","duration_ms":NaN}',
        b'{"type":"x","a":"\\ud83d"}',
    ]
    body = b"\n".join(lines)
    command = pushed(body, "application/x-ndjson")
    assert all(isinstance(item, Draft) for item in command.items)
    assert [(warning.index, warning.field) for warning in command.warnings] == [
        (0, "body"),
        (1, "duration_ms"),
        (2, "a"),
    ]


def test_good_items_keep_their_place_beside_bad_ones() -> None:
    items = pushed([{"type": "file_read"}, 7, {"type": None}, {"type": "health_check"}]).items
    assert [isinstance(item, Draft) for item in items] == [True, False, False, True]


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/x-ndjson; charset=utf-8"])
def test_lines_are_read_one_by_one(content_type) -> None:
    body = b'{"type":"file_read"}\n\n  {"type":"health_check"}\r\n{"type":\n[]\n{"type":"file_write"}\n'
    items = pushed(body, content_type).items
    assert [isinstance(item, Draft) for item in items] == [True, True, False, False, True]
    assert isinstance(items[2], Refusal)
    assert items[2].code == "malformed"


def test_lines_need_no_content_type_and_a_laid_out_event_is_one() -> None:
    assert len(pushed(b'{"type":"file_read"}\n{"type":"file_read"}').items) == 2
    assert len(pushed(json.dumps(SEED_EVENT, indent=2).encode()).items) == 1
    assert len(pushed(json.dumps([SEED_EVENT, SEED_EVENT], indent=2).encode()).items) == 2


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"type":"file_read"} x', b"nul", b"{'type': 1}", b'[{"type"', b'{\n"a":']
)
def test_a_body_that_is_no_json_is_malformed(body) -> None:
    with pytest.raises(errors.Malformed):
        pushed(body)


@pytest.mark.parametrize("body", [b"7", b'"text"', b"null", b"true"])
def test_a_body_that_is_no_event_is_refused(body) -> None:
    with pytest.raises(errors.Invalid):
        pushed(body)


def test_a_thousand_at_most() -> None:
    event = b'{"type":"file_read"}'
    assert len(pushed(b"[" + b",".join([event] * MAX_EVENTS) + b"]").items) == MAX_EVENTS
    assert len(pushed(b"\n".join([event] * MAX_EVENTS)).items) == MAX_EVENTS
    for body in [b"[" + b",".join([event] * 1001) + b"]", b"\n".join([event] * 1001), b"[" + b"1," * 200_000 + b"1]"]:
        with pytest.raises(errors.Invalid) as refused:
            pushed(body)
        assert refused.value.field == "events"
    assert pushed([]).items == []


def test_size_and_depth_are_bounded_item_by_item() -> None:
    deep = b'{"type":"file_read","metadata":{"a":' + b"[" * 200 + b"]" * 200 + b"}}"
    large = b'{"type":"file_read","more":"' + b"x" * 5000 + b'"}'
    items = pushed(
        b"[%b,%b,%b]" % (deep, large, b'{"type":"file_read"}'), settings=DialectSettings(max_event_bytes=4096)
    ).items
    assert [item.code if isinstance(item, Refusal) else "stored" for item in items] == [
        "validation_failed",
        "too_large",
        "stored",
    ]


@pytest.mark.parametrize("agent_id", ["not-a-uuid", "", "0189d3f0"])
def test_an_agent_is_a_uuid(agent_id) -> None:
    for one, body in [(PUSH, b'{"type":"file_read"}'), (FEED, b"")]:
        with pytest.raises(errors.NotFound):
            one.decode(call(body, path={"id": agent_id}))


def test_the_reply_counts_and_names_by_index() -> None:
    stored = Stored(1, 1, OTHER_RUN)
    bad = Refusal("validation_failed", "type: is required", "type")
    reply = PUSH.encode(Appended([stored, bad, stored]), None, call())
    assert reply.status == 200
    rejected = {"index": 1, "code": "validation_failed", "message": "type: is required"}
    assert json.loads(reply.body) == {"accepted": 2, "rejected": [rejected]}
    assert json.loads(PUSH.encode(Appended([stored]), None, call()).body) == {"accepted": 1, "rejected": []}
    assert PUSH.encode(Appended([bad]), None, call()).status == 422
    assert PUSH.encode(Appended([]), None, call()).status == 200


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("", 100),
        ("0", 0),
        ("7", 7),
        ("-5", 0),
        ("5001", 5000),
        ("9" * 60, 5000),
        ("x", 100),
        ("1.5", 100),
        ("1e3", 100),
    ],
)
def test_tail_is_forgiving(text, tail) -> None:
    command = FEED.decode(call(path={"id": AGENT.upper()}, query={"tail": text}))
    assert command == Tail(AGENT, tail)


def test_follow_makes_it_a_stream() -> None:
    def ask(query: dict[str, str], **headers: bytes) -> object:
        return FEED.decode(call(path={"id": AGENT}, query=query, headers={k.encode(): v for k, v in headers.items()}))

    assert ask({"follow": "true", "tail": "5"}) == ask({"follow": "True", "tail": "5"}) == FollowAgent(AGENT, 5)
    assert ask({"follow": "false"}) == ask({"follow": ""}) == ask({}) == Tail(AGENT, 100)
    assert ask({"follow": "true", "after": "e-7"}) == FollowAgent(AGENT, 100, "e-7")
    assert ask({"after": "e-7"}, **{"last-event-id": b"e-9"}) == Tail(AGENT, 100, "e-9")
    for follow in ["1", "on", "yes"]:
        with pytest.raises(errors.Invalid):
            ask({"follow": follow})


def test_the_array_leaves_out_what_has_no_place() -> None:
    events = [event(EventType.MESSAGE_DELTA, {"content": "x"}, position=8), event(EventType.TOOL_CALL, position=9)]
    agent = AgentRow(1, 1, AGENT, "a", NOW)
    reply = FEED.encode(FeedPage(agent, events, "epoch", 9), None, call())
    assert [shown["type"] for shown in json.loads(reply.body)] == ["command_start"]
    assert (b"x-cursor", cursor_text("epoch", 9).encode()) in reply.headers
    lost = (DamagedPlace("r", 7, 3), DamagedPlace(None, 10, 0))
    damaged = FEED.encode(FeedPage(agent, events, "epoch", 10, lost), None, call())
    assert dict(damaged.headers) == {b"x-cursor": b"epoch-10", b"x-damaged": b"r#3 @10"}
    assert FEED.encode(FeedPage(agent, [], "epoch", None), None, call()).headers == ()


def test_refusals_have_the_dialects_form() -> None:
    reply = DIALECT.explain(errors.Invalid("follow: must be true or false", field="follow"), "t")
    assert reply.status == 400
    assert json.loads(reply.body) == {"error": "validation_failed", "detail": "follow: must be true or false"}
    assert DIALECT.explain(errors.Malformed(), "t").status == 400
    assert DIALECT.explain(errors.NotFound("agent"), "t").status == 404
