"""The `steps` dialect: each event as the SDKs send it, every wrong field named at once, replies, errors."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.test_base import every_error
from tests.support.calls import body_of, endpoint_of, make_call, tried
from tests.support.tables import table
from towerlog import errors
from towerlog.dialects.base import DialectSettings, Limit
from towerlog.dialects.steps import DIALECT, STATUS_OF, STATUS_WORDS
from towerlog.errors import Invalid, Malformed, TooLarge, TowerlogError
from towerlog.model.command import Append
from towerlog.model.event import Draft, EventType, Refusal, RunByForeignId
from towerlog.model.facts import Effects, Facts, with_effects
from towerlog.model.outcome import Appended, Stored
from towerlog.model.pending import Pending
from towerlog.model.principal import Scope
from towerlog.model.run import TERMINAL, Status
from towerlog.model.usage import Usage, UsageReport

INGEST = endpoint_of(DIALECT, "POST", "/api/ingest")
TYPES = ["run_start", "step", "tool_call", "error", "run_end", "human_input_requested", "human_input_received"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def decode(body: Any, **options: Any) -> Draft:
    """The draft of a whole body."""
    command = INGEST.decode(make_call(body, **options))
    assert isinstance(command, Append)
    assert command.dialect == "steps"
    [draft] = command.items
    assert isinstance(draft, Draft)
    return draft


def draft(event_type: str, payload: Any = None, **fields: Any) -> Draft:
    """The draft of one event."""
    return decode({"event_type": event_type, "sdk_run_id": "run_a1b2c3", "payload": payload or {}, **fields})


def warned(body: Any, *wanted: str) -> Draft:
    """The draft of a body of which these fields are named in warnings."""
    command = INGEST.decode(make_call(body))
    assert isinstance(command, Append)
    assert [warning.field for warning in command.warnings] == list(wanted)
    assert all(warning.index is None and warning.message.startswith(warning.field) for warning in command.warnings)
    [found] = command.items
    assert isinstance(found, Draft)
    return found


def refused(body: Any, **options: Any) -> Invalid:
    """Why a body is refused."""
    with pytest.raises(Invalid) as caught:
        decode(body, **options)
    return caught.value


def replied(result: Stored | Refusal) -> tuple[int, Any]:
    """Status and JSON of the reply to an event."""
    reply = INGEST.encode(Appended([result]), None, make_call())
    return reply.status, body_of(reply)


def explained(error: TowerlogError) -> tuple[int, Any]:
    """Status and JSON of an error."""
    reply = DIALECT.explain(error, "trace")
    return reply.status, body_of(reply)


def test_the_seeds_run_start() -> None:
    payload = {"framework": "langgraph", "input": {"query": "What is the weather in Zurich?"}}
    found = draft("run_start", payload, agent_name="research-agent", occurred_at="2026-04-02T10:00:00Z")
    assert (found.type, found.facts, found.natural_key) == (
        EventType.RUN_STARTED,
        Facts(effects=Effects(is_start=True)),
        "run_start",
    )
    assert found.run == RunByForeignId("steps:run_a1b2c3", "run_a1b2c3", False)
    assert (found.agent, found.agent_default, found.event_id) == ("research-agent", "default", None)
    assert found.occurred_at == 1_775_124_000_000
    assert json.loads(found.data) == payload


def test_the_seeds_step() -> None:
    payload = {"node_name": "search_web", "phase": "end", "duration_ms": 890, "output": {"results": ["..."]}}
    found = draft("step", payload)
    assert (found.type, found.facts, found.natural_key) == (
        EventType.STEP,
        Facts(ends="search_web", duration_ms=890),
        None,
    )
    assert (found.agent, found.occurred_at) == (None, None)
    assert json.loads(found.data) == payload


@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        ({"phase": "start"}, EventType.TOOL_CALL),
        ({"phase": "end"}, EventType.TOOL_RESULT),
        ({"phase": None}, EventType.TOOL_RESULT),
        ({}, EventType.TOOL_RESULT),
    ],
)
def test_a_tool_call_starts_or_ends(phase: dict[str, Any], kind: EventType) -> None:
    payload = {"tool_name": "web_search", "input_preview": "Zurich", "output_preview": "12°C", "duration_ms": 740.5}
    found = draft("tool_call", {**payload, **phase})
    assert (found.type, found.facts) == (kind, Facts(tool="web_search", duration_ms=740))
    assert json.loads(found.data) == {**payload, **phase}


def test_a_tool_call_may_carry_its_own_id_and_outcome() -> None:
    facts = draft("tool_call", {"tool_call_id": "c-1", "success": False}).facts
    assert facts == Facts(tool_call_id="c-1", success=False)
    for useless in (7, "", None, "x" * 8193, ["c"]):
        assert draft("tool_call", {"tool_call_id": useless, "success": useless}).facts == Facts()


@pytest.mark.parametrize("call_id", ["a/b", "call_" + "x+/" * 1500, "x" * 8192, "..", "line\n"])
def test_an_id_of_a_third_party_is_any_text(call_id: str) -> None:
    assert draft("tool_call", {"tool_call_id": call_id}).facts.tool_call_id == call_id


@pytest.mark.parametrize("field", ["input_preview", "output_preview"])
@pytest.mark.parametrize(("length", "is_cut"), [(499, False), (500, False), (501, True), (40_000, True)])
def test_previews_have_at_most_500_characters(field: str, length: int, is_cut: bool) -> None:
    sent = {"z": 1, "tool_name": "t", field: "é" * length, "a": {"b": 1.0}}
    data = json.loads(draft("tool_call", sent).data)
    assert list(data) == list(sent)
    assert data == {**sent, field: "é" * 499 + "…" if is_cut else "é" * length}


def test_text_that_need_not_be_cut_stays_as_it_was_sent() -> None:
    payload = b'{"output_preview": "\\u00e9" , "n": 1.50}'
    body = b'{"event_type":"tool_call","sdk_run_id":"r","payload":' + payload + b"}"
    assert decode(body).data == payload


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"error_type": "ValueError", "error_message": "rate\n limit", "traceback": "…"}, "ValueError: rate limit"),
        ({"error_type": "ValueError"}, "ValueError"),
        ({"error_message": "x" * 600}, "x" * 499 + "…"),
        ({"error_type": None, "error_message": ""}, None),
        ({}, None),
    ],
)
def test_an_error_fails_the_run_with_one_line_of_why(payload: dict[str, Any], text: str | None) -> None:
    found = draft("error", payload)
    assert (found.type, found.facts, found.natural_key) == (EventType.RUN_FAILED, Facts(error=text), None)
    assert json.loads(found.data) == payload


def test_the_seeds_run_end() -> None:
    usage = {"prompt_tokens": 150, "completion_tokens": 45, "total_tokens": 195, "cost_usd": 0.0023, "model": "gpt-4"}
    found = draft("run_end", {"output": {"answer": "It is 12°C and cloudy."}, **usage})
    assert (found.type, found.natural_key) == (EventType.RUN_COMPLETED, "run_end")
    total = Usage(input_tokens=150, output_tokens=45, total_tokens=195, cost_nanos=2_300_000)
    assert found.facts == Facts(
        effects=Effects(model="gpt-4", report=UsageReport(total, whole_run=True, inclusive=True))
    )


@pytest.mark.parametrize(
    ("figures", "usage"),
    [
        ({}, None),
        ({"total_tokens": None, "cost_usd": None}, None),
        ({"total_tokens": 9}, Usage(total_tokens=9)),
        ({"total_tokens": 9, "prompt_tokens": 0}, Usage(input_tokens=0, total_tokens=9)),
        ({"total_tokens": 9, "completion_tokens": 4}, Usage(output_tokens=4, total_tokens=9)),
        ({"cost_usd": 0}, Usage(cost_nanos=0)),
        ({"cost_usd": 12345.678901234}, Usage(cost_nanos=12_345_678_901_234)),
    ],
)
def test_what_was_not_told_is_unknown(figures: dict[str, Any], usage: Usage | None) -> None:
    report = draft("run_end", figures).effects.report
    assert report == (None if usage is None else UsageReport(usage, whole_run=True, inclusive=True))


def test_only_true_recovers() -> None:
    assert draft("run_end", {"recovered": True}).effects.recovered
    for other in (False, None):
        assert not draft("run_end", {"recovered": other}).effects.recovered
    for wrong in ("true", 1):
        assert warned(event("run_end", {"recovered": wrong}), "payload.recovered").effects.recovered is False


def test_a_question_and_its_answer() -> None:
    asked = draft("human_input_requested", {"question": "Publish\nit?", "context": {"draft": 3}, "channel": "slack"})
    assert (asked.type, asked.facts.question) == (EventType.RUN_WAITING, "Publish it?")
    answered = draft("human_input_received", {"response": {"any": 1}, "responded_by": "alice"})
    assert (answered.type, answered.facts) == (EventType.RUN_INPUT, Facts(effects=Effects(acknowledges="input")))
    assert draft("human_input_requested").facts.question is None


def test_a_question_is_called_by_its_words() -> None:
    def key(**payload: Any) -> str | None:
        return draft("human_input_requested", payload).effects.question_key

    assert key(question="Publish?", context={"draft": 3}) == key(context={"draft": 3}, question="Publish?", channel="x")
    words = [{}, {"question": "Publish?"}, {"question": "Publish?", "context": 3}, {"question": "Publish? "}]
    assert len({key(**one) for one in words}) == 4


@pytest.mark.parametrize("event_type", TYPES)
def test_the_payload_may_name_the_thread(event_type: str) -> None:
    for payload, thread in (
        ({"thread_id": "t"}, "t"),
        ({"session_id": "s"}, "s"),
        ({"session_id": "s", "thread_id": "t"}, "t"),
        ({"thread_id": "a/b", "session_id": "s"}, "s"),
        *(({"thread_id": useless}, "run_a1b2c3") for useless in (None, "", 7, {}, "x" * 201, "a\n")),
    ):
        named = thread != "run_a1b2c3"
        assert draft(event_type, payload).run == RunByForeignId("steps:run_a1b2c3", thread, named)


def test_an_agents_name_is_one_line_and_may_have_a_slash() -> None:
    assert draft("step", agent_name="team/writer").agent == "team/writer"
    assert draft("step", agent_name="one\r\ntwo\t").agent == "one two"


@pytest.mark.parametrize("event_type", TYPES)
def test_only_starts_and_ends_happen_once(event_type: str) -> None:
    once = event_type in ("run_start", "run_end")
    assert draft(event_type).natural_key == (event_type if once else None)


def test_optional_fields_may_be_null_or_empty() -> None:
    for nothing in (None, ""):
        found = draft("step", agent_name=nothing, event_id=nothing, occurred_at=nothing)
        assert (found.agent, found.event_id, found.occurred_at) == (None, None, None)
    assert draft("step", event_id="e-1").event_id == "e-1"


def event(event_type: str = "step", payload: Any = None, **fields: Any) -> dict[str, Any]:
    """A body; `...` leaves a field out."""
    whole = {"event_type": event_type, "sdk_run_id": "r", "payload": {} if payload is None else payload, **fields}
    return {name: value for name, value in whole.items() if value is not ...}


WRONG_FIELDS: list[tuple[str, Any]] = [
    *(("event_type", value) for value in (..., None, "", "run_started", "RUN_START", 1, [], {}, True)),
    *(("sdk_run_id", value) for value in (..., None, "", 12, [], {}, "x" * 201, "a\tb", "a\x00", "a/b")),
    *(("payload", value) for value in (..., "{}", [], 0, True)),
    *(("agent_name", value) for value in (7, [], {}, "x" * 201)),
    *(("event_id", value) for value in (42, {}, "x" * 201, "a/b", ".", "..")),
    *(("sdk_run_id", value) for value in (".", "..")),
]


@pytest.mark.parametrize(
    "occurred_at", [1775124000, "yesterday", "2026-13-40T25:61:00Z", ["now"], "0001-01-01T00:00:00Z"]
)
def test_a_time_that_cannot_be_used_is_kept(occurred_at: Any) -> None:
    found = warned(event("run_end", {"b": 1}, occurred_at=occurred_at), "occurred_at")
    assert found.occurred_at is None
    assert json.loads(found.data) == {"towerlog_invalid": {"occurred_at": occurred_at}, "b": 1}


def test_what_a_client_could_not_use_itself_stays_beside_it() -> None:
    found = warned(event("step", {"towerlog_invalid": {"a": 1}}, occurred_at="soon"), "occurred_at")
    assert json.loads(found.data) == {"towerlog_invalid": {"a": 1, "occurred_at": "soon"}}


def test_a_leap_second_is_a_time() -> None:
    found = warned(event("run_end", occurred_at="2016-12-31T23:59:60.5Z"), "occurred_at")
    assert found.occurred_at == 1_483_228_800_500
    assert json.loads(found.data) == {}


@pytest.mark.parametrize(("field", "value"), WRONG_FIELDS, ids=lambda value: str(value)[:20])
def test_a_wrong_field_is_the_only_one_named(field: str, value: Any) -> None:
    error = refused(event(**{field: value}))
    assert error.field == field
    assert list(error.details) == [field]


PAYLOADS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("run_start", "framework", (7, [])),
    ("step", "node_name", (7, {})),
    ("step", "phase", ("middle", 1, "START")),
    ("step", "duration_ms", (-1, "long", True, 1e300, "1e3")),
    ("tool_call", "tool_name", (7, [], "x" * 201)),
    ("tool_call", "phase", ("middle", 1)),
    ("tool_call", "input_preview", (7, {})),
    ("tool_call", "output_preview", (7, [])),
    ("tool_call", "duration_ms", (-0.5, "long")),
    ("error", "error_type", (7,)),
    ("error", "error_message", ({},)),
    ("error", "traceback", (["line"],)),
    *(
        ("run_end", field, (-1, 0.5, "many", [], {}, True, 2**53 + 1, 10**40))
        for field in ("prompt_tokens", "completion_tokens", "total_tokens")
    ),
    ("run_end", "cost_usd", (-0.01, "cheap", [], {}, True, 1e300)),
    ("run_end", "model", (7, "x" * 201)),
    ("human_input_requested", "question", (7, [])),
    ("human_input_requested", "channel", (7, [])),
    ("human_input_received", "responded_by", (7, [])),
]


@table(
    "event_type, field, value",
    [(event_type, field, value) for event_type, field, values in PAYLOADS for value in values],
    ids=lambda value: str(value)[:20],
)
def test_a_detail_that_cannot_be_used_costs_no_event(event_type: str, field: str, value: Any) -> None:
    found = warned(event(event_type, {field: value, "other": 1}), f"payload.{field}")
    assert json.loads(found.data) == {field: value, "other": 1}
    plain = draft(event_type, {"other": 1})
    facts = found.facts
    if found.effects.question_key is not None:  # which is made of the words as they were sent
        facts = with_effects(facts, question_key=plain.effects.question_key)
    assert (found.type, facts, found.run) == (plain.type, plain.facts, RunByForeignId("steps:r", "r", False))


def test_whole_numbers_and_money_may_be_written_otherwise() -> None:
    report = draft("run_end", {"prompt_tokens": 150.0, "completion_tokens": "45", "cost_usd": "0.0023"}).effects.report
    assert report == UsageReport(
        Usage(input_tokens=150, output_tokens=45, cost_nanos=2_300_000), whole_run=True, inclusive=True
    )


def test_every_wrong_field_is_named_at_once() -> None:
    error = refused({"event_type": "nonsense", "payload": [], "agent_name": 7})
    assert list(error.details) == ["event_type", "sdk_run_id", "payload", "agent_name"]
    assert "run_start, step, tool_call" in error.details["event_type"]
    assert error.message == f"event_type: {error.details['event_type']}"


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"step"', b"true"])
def test_a_body_is_an_object(body: bytes) -> None:
    assert refused(body).field == "body"


@pytest.mark.parametrize("body", [b"", b"{", b"{'a':1}", b'{"payload":{"a":NaN}}', b'{"payload":{"a":"\\ud800"}}'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode(body)


def test_size_and_depth_are_bounded() -> None:
    with pytest.raises(TooLarge, match=r"^payload: is larger than 1000 bytes"):
        decode(event(payload={"a": "x" * 1000}), settings=DialectSettings(max_event_bytes=1000))
    deep = b'{"event_type":"step","sdk_run_id":"r","payload":{"a":' + b"[" * 128 + b"]" * 128 + b"}}"
    assert refused(deep).field == "payload"
    assert refused(deep.replace(b"[", b"[" * 1000).replace(b"]", b"]" * 1000)).message == "Nested too deeply."


@given(st.sampled_from(TYPES), st.dictionaries(st.text(), JSON))
def test_any_payload_is_kept_whole(event_type: str, payload: dict[str, Any]) -> None:
    command = INGEST.decode(make_call(event(event_type, payload)))
    assert isinstance(command, Append)
    [found] = command.items
    assert isinstance(found, Draft)
    assert json.loads(found.data) == payload
    assert all(warning.field.removeprefix("payload.") in payload for warning in command.warnings)


@given(st.dictionaries(st.sampled_from(["event_type", "sdk_run_id", "payload", "agent_name", "event_id"]), JSON))
def test_any_object_is_an_event_or_a_422(body: dict[str, Any]) -> None:
    found = tried(lambda: decode(body))
    if isinstance(found, TowerlogError):
        status, told = explained(found)
        assert (status, set(told)) == (422, {"message", "errors"})
        assert told["message"] == next(iter(told["errors"].values()))[0]


@given(st.binary())
def test_any_body_is_an_event_or_an_error_of_ours(body: bytes) -> None:
    found = tried(lambda: decode(body))
    assert isinstance(found, Draft) or 400 <= explained(found)[0] < 500


def test_the_reply_is_the_seeds() -> None:
    reply = INGEST.encode(Appended([Stored(42, 1, "r", duplicate=True, late=True)]), None, make_call())
    assert (reply.status, reply.body) == (200, b'{"status":"ok","event_id":42}')


def test_commands_come_with_the_reply() -> None:
    stored = Stored(42, 1, "r", commands=(Pending(3, "cancel"), Pending(5, "input", "yes")))
    assert replied(stored) == (
        200,
        {
            "status": "ok",
            "event_id": 42,
            "commands": [
                {"type": "cancel", "command_id": 3},
                {"type": "input", "command_id": 5, "content": "yes"},
            ],
        },
    )


def test_an_id_that_was_used_before_is_a_409() -> None:
    assert replied(Refusal("id_reused", "used before", "event_id")) == (409, {"message": "used before"})


def test_a_refused_event_is_the_error_of_its_request() -> None:
    status, body = replied(Refusal("validation_failed", "payload.x: no", "payload.x"))
    assert (status, body) == (422, {"message": "payload.x: no", "errors": {"payload.x": ["payload.x: no"]}})
    assert replied(Refusal("too_large", "too big"))[0] == 413


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_has_a_message(error: TowerlogError) -> None:
    status, body = explained(error)
    assert 400 <= status < 600
    assert set(body) == ({"message", "errors"} if status == 422 else {"message"})
    assert isinstance(body["message"], str)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (errors.Unauthenticated(), 401, "Unauthenticated."),
        (errors.RateLimited("slow down", retry_after=7), 429, "Too Many Attempts."),
        (errors.IdReused(), 409, errors.IdReused().message),
        (errors.InProgress(), 409, errors.InProgress().message),
        (errors.TooLarge(), 413, errors.TooLarge().message),
        (errors.Overloaded(), 503, errors.Overloaded().message),
        (errors.Malformed(), 400, errors.Malformed().message),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_form_of_an_error(error: TowerlogError, status: int, message: str) -> None:
    assert explained(error) == (status, {"message": message})


def test_a_limited_sender_is_told_when_to_come_back() -> None:
    assert DIALECT.explain(errors.RateLimited(retry_after=7), "trace").headers == ((b"retry-after", b"7"),)


def test_the_door() -> None:
    door, *alerts = [(one.method, one.path) for one in DIALECT.endpoints]
    assert door == ("POST", "/api/ingest")
    assert alerts
    assert all(path.startswith("/alerts") for _, path in alerts)
    assert INGEST.scopes == {Scope.INGEST, Scope.ADMIN}
    assert INGEST.limited
    assert DIALECT.limit == Limit("steps_rate_per_minute", "key")


def test_the_types_of_bodies_can_be_documented() -> None:
    _, components = msgspec.json.schema_components([INGEST.request, INGEST.reply])
    assert components["SdkEvent"]["required"] == ["event_type", "sdk_run_id", "payload"]
    assert components["SdkEvent"]["properties"]["event_type"]["enum"] == sorted(TYPES)
    assert components["SdkEvent"]["properties"]["payload"]["type"] == "object"


def test_the_words_are_total_in_both_directions() -> None:
    assert set(STATUS_WORDS) == set(Status)
    assert set(STATUS_WORDS.values()) == set(STATUS_OF)
    for word, status in STATUS_OF.items():
        assert STATUS_WORDS[status] == word
    for status, word in STATUS_WORDS.items():
        assert (status in TERMINAL) == (STATUS_OF[word] in TERMINAL)
