"""Reading a wire's JSON: errors name the field, text stays as it was sent, nothing hostile costs more than its size."""

from __future__ import annotations

import contextlib
import enum
import json
import tracemalloc
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.calls import AGENT, RUN, call, endpoint
from tests.support.calls import tried
from towerlog import errors
from towerlog.dialects import DIALECTS, base, fields
from towerlog.dialects.base import MAX_LABEL_CHARS
from towerlog.dialects.fields import Count, Duration, JsonObject
from towerlog.dialects.native import NATIVE
from towerlog.dialects.structure import check_depth, check_length
from towerlog.errors import Invalid, Malformed, NotFound, TooLarge, TowerlogError
from towerlog.model.event import Refusal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)


class Inner(msgspec.Struct):
    size: Count


class Outer(msgspec.Struct):
    name: str
    inner: list[Inner] = []
    body: JsonObject = msgspec.Raw(b"{}")
    wait: Duration | None = None
    labels: dict[str, Annotated[str, msgspec.Meta(max_length=3)]] = {}


OUTER = msgspec.json.Decoder(Outer)


def wrong(body: bytes, prefix: str = "") -> Invalid:
    """The error of a body that does not fit."""
    with pytest.raises(Invalid) as caught:
        fields.decode(OUTER, body, prefix)
    return caught.value


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        (b"{}", "name", "is required"),
        (b'{"name":7}', "name", "Expected `string`, got `integer`"),
        (b'{"name":null}', "name", "Expected `string`, got `null`"),
        (b'{"name":"a","inner":{}}', "inner", "Expected `array`, got `object`"),
        (b'{"name":"a","inner":[{"size":1},{}]}', "inner.1.size", "is required"),
        (b'{"name":"a","inner":[{"size":-1}]}', "inner.0.size", "Expected `integer` >= 0"),
        (b'{"name":"a","inner":[{"size":true}]}', "inner.0.size", "Expected `integer`, got `boolean`"),
        (b'{"name":"a","inner":[{"size":9007199254740993}]}', "inner.0.size", "Expected `integer` <= 9007199254740992"),
        (b'{"name":"a","inner":[{"size":1%b}]}' % (b"0" * 5000), "inner.0.size", "Integer value out of range"),
        (b'{"name":"a","wait":1e400}', "wait", "Number out of range"),
        (b'{"name":"a","wait":-0.5}', "wait", "Expected `number` >= 0.0"),
        (b'{"name":"a","labels":{"k":"long"}}', "labels", "Expected `string` of length <= 3"),
        (b"[]", "body", "Expected `object`, got `array`"),
        (b"null", "body", "Expected `object`, got `null`"),
    ],
)
def test_a_wrong_field_is_named(body: bytes, field: str, why: str) -> None:
    error = wrong(body)
    assert (error.field, error.details) == (field, {field: why})
    assert error.message == f"{field}: {why}"


class Refused(enum.Enum):
    A = "a"


def test_a_refusal_does_not_repeat_a_value_that_is_long() -> None:
    """msgspec names the value that is none of an enumeration, however long it is."""
    with pytest.raises(Invalid) as caught:
        fields.decode(msgspec.json.Decoder(dict[str, Refused]), json.dumps({"a": "y" * 100_000}).encode(), "body")
    assert len(caught.value.message) < 400
    assert caught.value.field == "body"


def test_fields_are_named_below_the_prefix() -> None:
    assert wrong(b'{"name":7}', "events.3.data").field == "events.3.data.name"
    assert wrong(b"[]", "events.3.data").field == "events.3.data"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b'{"name":', b"{'name':1}", b'{"name":"a"}x', b'{"name":"a",}', b'{"name":"a" "b":1}'),
        *(b'{"name":"\\q"}', b'{"name":"\n"}', b'{"name":"\\ud800"}', b'{"name":"\xff"}', b'{"body":NaN,"name":"a"}'),
        *(b'{"body":{"a":Infinity},"name":"a"}', b'{"body":{"a":01},"name":"a"}', b'{"body":"\\ud800","name":"a"}'),
    ],
)
def test_what_is_no_json_is_malformed_also_where_nobody_looks(body: bytes) -> None:
    with pytest.raises(Malformed):
        fields.decode(OUTER, body)


def test_endless_nesting_is_refused_and_not_followed() -> None:
    assert wrong(b'{"name":"a","body":' + b"[" * 100_000 + b"]" * 100_000 + b"}").message == "Nested too deeply."


@given(OBJECTS)
def test_an_object_comes_out_as_it_went_in(value: dict[str, Any]) -> None:
    for text in (json.dumps(value).encode(), json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()):
        assert fields.one_line(msgspec.Raw(text), "data") == text


@given(OBJECTS)
def test_pretty_json_is_put_on_one_line_with_its_values_and_their_order(value: dict[str, Any]) -> None:
    text = json.dumps({"first": 1, **value}, indent=2).encode()
    line = fields.one_line(text, "data")
    assert b"\n" not in line
    assert json.loads(line, object_pairs_hook=list) == json.loads(text, object_pairs_hook=list)


@pytest.mark.parametrize(
    "text", [b'{"n":1.50,"a":1,"a":2}', b'{"n":1e400}', b'{"n":-0}', b'{"n":123456789012345678901}']
)
def test_numbers_and_doubled_names_keep_their_text(text: bytes) -> None:
    assert fields.one_line(text, "data") == text
    assert fields.one_line(text.replace(b":", b" :\r\n"), "data") == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"[]", "`array`"),
        (b'"x"', "`string`"),
        (b"null", "`null`"),
        (b"true", "`boolean`"),
        (b"-1", "`number`"),
        (b"", "nothing"),
    ],
)
def test_only_an_object_will_do(text: bytes, kind: str) -> None:
    with pytest.raises(Invalid, match=f"data: Expected `object`, got {kind}"):
        fields.one_line(text, "data")


def test_an_object_that_is_too_large_is_refused_whole() -> None:
    text = b'{"a":"' + b"x" * 92 + b'"}'
    assert fields.one_line(text, "data", largest=len(text)) == text
    with pytest.raises(TooLarge) as caught:
        fields.one_line(text, "data", largest=len(text) - 1)
    assert caught.value.field == "data"


def depth_of(value: Any) -> int:
    """How deep a value is nested; 0 for one that is no object or array."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.integers(0, 8))
def test_depth_is_counted_outside_of_strings(value: Any, deepest: int) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    if depth_of(value) <= deepest:
        check_depth(text, "data", deepest)
    else:
        with pytest.raises(Invalid, match=f"nested deeper than {deepest} levels"):
            check_depth(text, "data", deepest)


def test_brackets_in_strings_are_no_depth() -> None:
    tricky = [{"a": "[" * 500 + '"\\'}, '\\"[[[{{{', "\\", "]]]"]
    check_depth(json.dumps(tricky).encode(), "data", 2)


@given(st.lists(JSON, max_size=12), st.integers(1, 12))
def test_items_are_counted_without_being_read(value: list[Any], longest: int) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    if len(value) <= longest:
        check_length(text, "events", longest)
    else:
        with pytest.raises(Invalid, match=f"events: has more than {longest} items"):
            check_length(text, "events", longest)


@pytest.mark.parametrize("value", ["a", "проект", "a b", "...", ".a", "日本語🙂", "x" * 200, "a\u00a0b"])
def test_ids_are_of_any_script(value: str) -> None:
    assert fields.text_id(value, "thread_id") == value
    assert fields.path_id(value, "thread") == value


@pytest.mark.parametrize("value", ["x" * 201, "a/b", "/", ".", "..", "a\nb", "a\x00", "\x7f", "a\x85b"])
def test_other_ids_are_refused_and_named(value: str) -> None:
    with pytest.raises(Invalid, match=r"^thread_id: "):
        fields.optional_id(value, "thread_id")
    with pytest.raises(NotFound):
        fields.path_id(value, "thread")


def test_absent_null_and_empty_are_the_same() -> None:
    assert fields.optional_id(None, "x") is None
    assert fields.optional_id("", "x") is None
    assert fields.bounded_text("", "x") is None
    assert fields.time_ms_of("", "x") is None
    assert fields.time_ms_of(None, "x") is None
    for absent in (None, ""):
        with pytest.raises(Invalid, match="thread_id: is required"):
            fields.text_id(absent, "thread_id")


def test_labels_are_of_bounded_length() -> None:
    assert fields.bounded_text("x" * 200, "model") == "x" * 200
    with pytest.raises(Invalid, match="model: is longer than 200 characters"):
        fields.bounded_text("x" * 201, "model")


@pytest.mark.parametrize("value", ["", "x", "0" * 36, "0190a0a0-0000-7000-8000-00000000000g", "{0}\n", "urn:uuid:{0}"])
def test_what_is_no_uuid_is_not_found(value: str) -> None:
    with pytest.raises(NotFound) as caught:
        fields.path_uuid(value.replace("{0}", "0190a0a0-0000-7000-8000-00000000000a"), "run")
    assert caught.value.kind == "run"


def test_a_uuid_is_found_in_any_case() -> None:
    assert fields.path_uuid("0190A0A0-0000-7000-8000-00000000000A", "run") == "0190a0a0-0000-7000-8000-00000000000a"


def test_times_are_named_when_wrong() -> None:
    assert fields.time_ms_of("1970-01-01T00:00:01Z", "occurred_at") == 1000
    with pytest.raises(Invalid, match=r"^occurred_at: not an ISO 8601"):
        fields.time_ms_of("yesterday", "occurred_at")


def test_money_is_read_from_its_text() -> None:
    assert fields.cost_nanos_of(msgspec.Raw(b"0.00231"), "cost") == 2_310_000
    assert fields.cost_nanos_of(msgspec.Raw(b"null"), "cost") is None
    for text in (b"-1", b'"1"', b"true", b"[]", b"1e300"):
        with pytest.raises(Invalid, match=r"^cost: "):
            fields.cost_nanos_of(msgspec.Raw(text), "cost")


def test_spliced_members_give_way_to_those_that_are_there() -> None:
    assert fields.splice(b"{}", tool_call_id="c") == b'{"tool_call_id":"c"}'
    assert fields.splice(b"{ }", n=1, b=None) == b'{"n":1,"b":null}'
    assert json.loads(fields.splice(b'{"a":1,"b":2}', a="ours", c=True)) == {"a": 1, "b": 2, "c": True}


@pytest.mark.parametrize(("text", "value"), [(None, 50), ("", 50), ("1", 1), ("200", 200), ("+7", 7)])
def test_a_number_in_a_query(text: str | None, value: int) -> None:
    assert fields.query_int({} if text is None else {"limit": text}, "limit", 50, 1, 200) == value


@pytest.mark.parametrize("text", ["0", "201", "-1", "x", "1.0", "1e2", "٣", " 1", "1\n", "9" * 5000])
def test_a_wrong_number_in_a_query_is_named(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        fields.query_int({"limit": text}, "limit", 50, 1, 200)
    assert caught.value.field == "limit"


@pytest.mark.parametrize(
    ("text", "value"), [(None, None), ("", None), ("true", True), ("True", True), ("false", False), ("FALSE", False)]
)
def test_a_truth_in_a_query(text: str | None, value: bool | None) -> None:
    assert fields.query_truth({} if text is None else {"follow": text}, "follow", None) is value


@pytest.mark.parametrize("text", ["1", "0", "yes", " true", "t", "ｔｒｕｅ", "x" * 5000])
def test_a_wrong_truth_in_a_query_is_named(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        fields.query_truth({"follow": text}, "follow", False)
    assert caught.value.field == "follow"


@pytest.mark.parametrize(("segment", "text"), [("a%20b", "a b"), ("%D1%8F", "я"), ("%ff", "\ufffd"), ("%", "%")])
def test_path_segments_are_percent_decoded(segment: str, text: str) -> None:
    assert fields.percent_decode(segment) == text


@given(st.text(), st.integers(1, 20))
def test_a_cut_text_is_no_longer_than_asked_for(text: str, longest: int) -> None:
    short = fields.truncated(text, longest)
    assert len(short) <= longest
    assert short == text if len(text) <= longest else text.startswith(short[:-1]) and short.endswith("…")


def test_a_summary_is_one_line_of_at_most_500_characters() -> None:
    assert fields.summary(" ValueError:\n\tbad\r\n input ") == "ValueError: bad input"
    assert len(fields.summary("word " * 10_000)) == 500


@pytest.mark.parametrize("error", [errors.IdReused(), errors.TooLarge("too big", field="data"), errors.Invalid("no")])
def test_a_refused_item_is_the_same_error_when_it_was_sent_alone(error: errors.TowerlogError) -> None:
    again = base.error_of(fields.refusal(error))
    assert (type(again), again.message, again.field) == (type(error), error.message, error.field)


def test_any_refusal_is_an_error() -> None:
    assert isinstance(base.error_of(Refusal("not_found", "gone")), NotFound)
    assert isinstance(base.error_of(Refusal("nobody_knows", "why")), Invalid)


@given(st.binary())
def test_stored_text_is_read_or_taken_for_empty(text: bytes) -> None:
    fields.decode_any(text)
    assert fields.decode_any(b"{" + text) is not None


@pytest.mark.parametrize(
    "error",
    [
        fields.invalid_field("data.name", "is required"),
        TooLarge("data: is larger than 5 bytes", field="data"),
        Malformed("The body is not valid JSON: no", field="data"),
        Malformed("The body is not valid JSON."),
    ],
    ids=["Invalid", "TooLarge", "Malformed below", "Malformed"],
)
def test_an_item_in_its_batch_is_refused_in_the_same_words(error: TowerlogError) -> None:
    placed = fields.below("events.3", error)
    assert type(placed) is type(error)
    if error.field is None:
        assert placed is error
        return
    assert placed.field == f"events.3.{error.field}"
    assert list(placed.details) == [placed.field]
    assert placed.message.replace("events.3.", "") == error.message
    assert placed.message.startswith((placed.field, "The body"))
    assert placed.details[placed.field].replace("events.3.", "") == error.details[error.field]
    assert not placed.details[placed.field].startswith(error.field)


@given(OBJECTS, st.integers(1, 6))
def test_one_line_finds_the_same_depth_whatever_the_shape(value: dict[str, Any], deepest: int) -> None:
    text = json.dumps(value).encode()
    found = tried(lambda: fields.one_line(text, "data", deepest))
    said = found.message if isinstance(found, TowerlogError) else None
    assert said == (f"data: is nested deeper than {deepest} levels" if depth_of(value) > deepest else None)


NAMING: dict[str, tuple[str, dict[str, str], Callable[[str], dict[str, Any]]]] = {
    "checkpoints": (
        "checkpoints.events",
        {},
        lambda name: {"org_id": "o", "events": [{"type": name, "data": {"thread_id": "t"}}]},
    ),
    "activity": ("activity.push", {"id": AGENT}, lambda name: {"type": name}),
    "lanes": ("lanes.report", {"id": RUN}, lambda name: {"worker_id": "w", "events": [{"type": name}]}),
    "native": (
        "tell_events",
        {},
        lambda name: {
            "client_id": "c",
            "events": [{"event_id": "e", "client_seq": 1, "run_key": "r", "type": "other", "data": {"name": name}}],
        },
    ),
}
"""Dialect → a request with an event that has a name of its sender's own."""


@pytest.mark.parametrize("dialect", NAMING)
def test_the_names_that_are_remembered_have_a_length_in_every_dialect(dialect: str) -> None:
    spoken = {one.name: one for one in (*DIALECTS, NATIVE)}[dialect]
    name, path, body_of = NAMING[dialect]

    def remembered(count: int) -> int:
        before = fields.facts_named.cache_info().misses
        with contextlib.suppress(TowerlogError):
            endpoint(spoken, name).decode(call(body_of("\N{FIRE}" * count), path=path))
        return fields.facts_named.cache_info().misses - before

    fields.facts_named.cache_clear()
    assert [remembered(count) for count in (MAX_LABEL_CHARS, MAX_LABEL_CHARS + 1, 1_000_000)] == [1, 0, 0]


def test_all_names_that_are_remembered_take_little_memory() -> None:
    fields.facts_named.cache_clear()
    tracemalloc.start()
    try:
        for n in range(2 * fields.MAX_KNOWN_NAMES):
            fields.facts_named(f"{n:06} " + "\N{FIRE}" * (MAX_LABEL_CHARS - 7))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 3 * 2**19
    fields.facts_named.cache_clear()


def test_however_often_a_body_is_refused_its_type_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """That costs milliseconds, and whoever has no key can have sign-ins refused."""
    looks: list[Any] = []
    for owner, name in ((msgspec.inspect, "type_info"), (msgspec.structs, "fields")):
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda type_, real=real: looks.append(type_) or real(type_))

    class Asked(msgspec.Struct, forbid_unknown_fields=True):
        count: Annotated[int, msgspec.Meta(ge=0)]

    decoder = msgspec.json.Decoder(Asked)
    for number in range(50):
        with pytest.raises(Invalid, match="it takes count"):
            fields.decode(decoder, b'{"count":%d,"more":1}' % number)
        with pytest.raises(Invalid):
            fields.decode_body(decoder, b'{"count":-%d}' % (number + 1))
    assert len(looks) <= 2
