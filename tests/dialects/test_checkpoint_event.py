"""Checkpoints as agents send them: every value kept, every wrong field named, figures apart from the history."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.calls import tried
from tests.support.tables import table
from towerlog.dialects import checkpoint_event
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.checkpoint_event import OF_ONE_CALL, STATUS_OF, STATUS_WORDS, checkpoint_draft
from towerlog.errors import Invalid, TooLarge, TowerlogError
from towerlog.model.event import Draft, EventType, FieldWarning, OpenRun, RunById, RunByTrace
from towerlog.model.facts import CheckpointFacts
from towerlog.model.run import TERMINAL, Status
from towerlog.model.usage import Usage, UsageReport

SEED = {
    "thread_id": "my-project",
    "trace_id": "abc123",
    "parent_trace_id": None,
    "agent_id": "researcher",
    "step_index": 3,
    "status": "in_progress",
    "history": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
    "history_meta": [{"ts": "2025-03-14T09:00:00.000Z"}, {"ts": "…", "tokens_in": 310, "tokens_out": 110}],
    "tokens_used": 420,
    "input_tokens": 310,
    "output_tokens": 110,
    "model": "claude-sonnet-4-6",
    "turn_start_history_len": 4,
    "pending_tool_calls": [],
    "run_cost_usd": 0.002310,
    "budget_usd": 0.5,
    "budget_warning": False,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def draft(data: Any, run: RunById | None = None, settings: DialectSettings | None = None) -> Draft:
    """The draft of data, which is JSON text or a value."""
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return checkpoint_draft(text, run, settings or DialectSettings(), "data", [])


def changed(**fields: Any) -> dict[str, Any]:
    """The seed's data with other fields; `...` leaves one out."""
    return {name: value for name, value in {**SEED, **fields}.items() if value is not ...}


def ordered(text: bytes) -> Any:
    """JSON with the order of names kept."""
    return json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs))


def test_the_seeds_checkpoint() -> None:
    found = draft(SEED)
    assert found.type is EventType.CHECKPOINT
    assert found.run == RunByTrace("my-project", "abc123")
    assert (found.agent, found.agent_default) == ("researcher", "unknown")
    assert found.effects.status is Status.RUNNING
    assert found.effects.model == "claude-sonnet-4-6"
    assert found.effects.parent_key is None
    usage = Usage(input_tokens=310, output_tokens=110, total_tokens=420, cost_nanos=2_310_000)
    assert found.effects.report == UsageReport(usage, "turn", process_cost=True, inclusive=True, by_size=True)
    assert found.effects.checkpoint == CheckpointFacts(3, "in_progress", length=2, has_meta=True)
    assert (found.natural_key, found.event_id, found.occurred_at) == (None, None, None)


def test_the_figures_are_all_else_in_the_order_that_it_was_sent() -> None:
    found = draft({**SEED, "unknown": {"z": 1, "a": [1.50]}})
    names = [name for name in SEED if not name.startswith("history")]
    assert list(json.loads(found.data)) == [*names, "unknown"]
    assert ordered(found.data)[1][-1] == ("unknown", ("object", [("z", 1), ("a", [1.50])]))


@given(st.lists(JSON, max_size=6), st.booleans(), st.sampled_from([None, 2]))
def test_a_history_is_taken_apart_into_compact_messages(history: list[Any], is_ascii: bool, indent: int | None) -> None:
    text = json.dumps(changed(history=history, history_meta=history), ensure_ascii=is_ascii, indent=indent).encode()
    found = draft(text).history
    assert found is not None
    assert found.meta is not None
    assert list(found.meta) == list(found.messages)
    assert [ordered(message) for message in found.messages] == [ordered(json.dumps(one).encode()) for one in history]
    for message, value in zip(found.messages, history, strict=True):
        assert message == msgspec.json.format(json.dumps(value, ensure_ascii=is_ascii).encode(), indent=-1)
        assert b"\n" not in message


def test_values_in_a_history_keep_their_text() -> None:
    found = draft(b'{"thread_id":"t","step_index":0,"history":[ {"n" : 1.50, "n":1e400}, -0, "\\u0000" ]}').history
    assert found is not None
    assert list(found.messages) == [b'{"n":1.50,"n":1e400}', b"-0", b'"\\u0000"']


@pytest.mark.parametrize("absent", [..., None], ids=["absent", "null"])
def test_a_history_without_meta(absent: Any) -> None:
    found = draft(changed(history_meta=absent))
    assert found.history is not None
    assert (len(found.history.messages), found.history.meta) == (2, None)
    assert found.effects.checkpoint == CheckpointFacts(3, "in_progress", length=2, has_meta=False)


@pytest.mark.parametrize("absent", [..., None, []], ids=["absent", "null", "empty"])
def test_a_checkpoint_without_history_has_an_empty_one(absent: Any) -> None:
    found = draft(changed(history=absent, history_meta=[])).history
    assert found is not None
    assert found.meta is not None
    assert (list(found.messages), list(found.meta)) == ([], [])


def test_no_line_of_figures_ends_early() -> None:
    pretty = json.dumps(changed(extra={"a": [1, "x\ny"]}), indent=1).encode()
    assert b"\n" not in draft(pretty).data
    assert json.loads(draft(pretty).data)["extra"] == {"a": [1, "x\ny"]}


@pytest.mark.parametrize("absent", [..., None, ""], ids=["absent", "null", "empty"])
def test_optional_ids(absent: Any) -> None:
    found = draft(changed(trace_id=absent, agent_id=absent, parent_trace_id=absent, status=absent, model=absent))
    assert (found.run, found.agent) == (OpenRun("my-project"), "unknown")
    assert (found.effects.parent_key, found.effects.model) == (None, None)
    assert found.effects.checkpoint is not None
    assert found.effects.checkpoint.status == "in_progress"


def test_a_parent_is_named_by_its_trace() -> None:
    assert draft(changed(parent_trace_id="p-1")).effects.parent_key == "trace:p-1"


def test_a_run_that_is_known_needs_no_thread_and_keeps_its_agent() -> None:
    found = draft(changed(thread_id=..., agent_id=...), RunById("r-1"))
    assert (found.run, found.agent) == (RunById("r-1"), None)
    assert draft(SEED, RunById("r-1")).agent == "researcher"


@pytest.mark.parametrize(
    ("figures", "report"),
    [
        ({}, None),
        ({"tokens_used": 7}, UsageReport(Usage(total_tokens=7), inclusive=True, by_size=True)),
        (
            {"tokens_used": 7, "input_tokens": 0},
            UsageReport(Usage(input_tokens=0, total_tokens=7), inclusive=True, by_size=True),
        ),
        (
            {"tokens_used": 7, "input_tokens": 3, "output_tokens": 1},
            UsageReport(Usage(input_tokens=3, output_tokens=1, total_tokens=7), "turn", inclusive=True, by_size=True),
        ),
        ({"output_tokens": 2}, UsageReport(Usage(output_tokens=2), inclusive=True, by_size=True)),
        ({"run_cost_usd": 0}, UsageReport(Usage(cost_nanos=0), process_cost=True, inclusive=True, by_size=True)),
        ({"tokens_used": None, "run_cost_usd": None}, None),
    ],
)
def test_what_was_not_told_is_unknown(figures: dict[str, Any], report: UsageReport | None) -> None:
    assert draft({"thread_id": "t", "step_index": 0, **figures}).effects.report == report


@pytest.mark.parametrize("cost", [{"cost": 0.25}, {"cost": {"total_cost": 0.25}}, {"cost_usd": 0.25}])
def test_a_cost_of_the_tokens_is_read_or_warned_of(cost: dict[str, Any]) -> None:
    told = {"prompt_tokens": 10, "completion_tokens": 5, **cost}
    named = {"thread_id": "t", "step_index": 0}
    usage = Usage(input_tokens=10, output_tokens=5, cost_nanos=250_000_000)
    assert draft({**named, "usage": told}).effects.report == UsageReport(usage, inclusive=True, by_size=True)
    for figures in ({"usage": told, "tokens_used": 400}, {"usage": {**told, "total_tokens": 15}}):
        warnings: list[FieldWarning] = []
        found = checkpoint_draft(msgspec.json.encode({**named, **figures}), None, DialectSettings(), "data", warnings)
        assert found.effects.report is not None
        assert found.effects.report.usage.cost_nanos is None
        assert [OF_ONE_CALL in one.message for one in warnings] == [True]
    both = draft({**named, "usage": told, "run_cost_usd": 0.5}).effects.report
    assert both is not None
    assert (both.usage.cost_nanos, both.process_cost) == (500_000_000, True)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("in_progress", Status.RUNNING),
        ("waiting_for_approval", Status.WAITING),
        ("approved", Status.RUNNING),
        ("rejected", Status.RUNNING),
        ("idle", Status.RUNNING),
        ("pondering", Status.RUNNING),
        ("completed", None),
        ("error", None),
        ("budget_exceeded", None),
    ],
)
def test_the_word_is_kept_and_says_where_the_run_is(word: str, status: Status | None) -> None:
    facts = draft(changed(status=word)).facts
    assert facts.effects.status is status
    assert facts.effects.checkpoint is not None
    assert facts.effects.checkpoint.status == word


def test_the_words_are_total_in_both_directions() -> None:
    assert set(STATUS_WORDS) == set(Status)
    assert set(STATUS_WORDS.values()) <= set(STATUS_OF)
    assert set(STATUS_OF) == {
        *("in_progress", "waiting_for_approval", "approved", "rejected", "completed", "error", "budget_exceeded"),
        "idle",
    }
    for status, word in STATUS_WORDS.items():
        assert (status in TERMINAL) == (STATUS_OF[word] in TERMINAL)


COUNTS = ("tokens_used", "input_tokens", "output_tokens", "turn_start_history_len")
WRONG: list[tuple[str, Any]] = [
    *(("thread_id", value) for value in (..., None, "", 7, [], "x" * 201, "a/b", "a\x00", ".", "..")),
    *((field, value) for field in ("trace_id", "parent_trace_id", "agent_id") for value in (7, {}, "x" * 201)),
    *((field, "a\n") for field in ("trace_id", "parent_trace_id")),
    *(("step_index", value) for value in (..., None, -1, 1.5, "three", True, 2**53 + 1, [])),
    *((field, value) for field in ("history", "history_meta") for value in ("x", {}, 1, True)),
]
DETAILS: list[tuple[str, Any]] = [
    *(("status", value) for value in (1, [], "x" * 201)),
    *(("pending_tool_calls", value) for value in ("x", {}, 1, True)),
    *((field, value) for field in COUNTS for value in (-1, 0.5, "many", True, {}, 2**53 + 1, 10**30)),
    *((field, value) for field in ("run_cost_usd", "budget_usd") for value in (-0.01, "cheap", True, [], 1e300)),
    *(("budget_warning", value) for value in ("yes", 1)),
    *(("model", value) for value in (4, [], "x" * 201)),
]


@table("field, value", DETAILS, ids=lambda value: str(value)[:20])
def test_a_detail_that_cannot_be_used_costs_no_checkpoint(field: str, value: Any) -> None:
    warnings: list[FieldWarning] = []
    text = msgspec.Raw(json.dumps(changed(**{field: value})).encode())
    found = checkpoint_draft(text, None, DialectSettings(), "data", warnings)
    assert json.loads(found.data)[field] == value
    assert [warning.field for warning in warnings] == [f"data.{field}"]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: str(value)[:20])
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        draft(changed(**{field: value}))
    assert caught.value.field == f"data.{field}"
    assert caught.value.message.startswith(f"data.{field}: ")


@pytest.mark.parametrize("metas", [[], [{}], [{"ts": "1"}, {"ts": "2"}, {"ts": "3"}]], ids=len)
def test_a_history_and_its_metas_may_differ_in_length(metas: list[Any]) -> None:
    history = draft(changed(history_meta=metas)).history
    assert history is not None
    assert (len(history.messages), len(history.meta or [])) == (2, len(metas))


def test_errors_are_named_below_the_prefix() -> None:
    with pytest.raises(Invalid, match=r"^events\.4\.payload\.step_index: is required"):
        checkpoint_draft(msgspec.Raw(b"{}"), RunById("r"), DialectSettings(), "events.4.payload", [])


def nested(levels: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("field", ["history", "history_meta", "pending_tool_calls", "unknown"])
def test_the_depth_of_every_part_is_bounded(field: str) -> None:
    """`data` is the first level, and the value of the field the second."""
    settings = DialectSettings(max_depth=10)
    other = {"history": [1]} if field == "history_meta" else {"history_meta": None}
    assert draft(changed(**{**other, field: nested(9)}), settings=settings)
    with pytest.raises(Invalid, match="nested deeper") as caught:
        draft(changed(**{**other, field: nested(10)}), settings=settings)
    assert caught.value.field in (f"data.{field}", "data")


def test_the_size_is_bounded() -> None:
    text = json.dumps(SEED).encode()
    assert draft(text, settings=DialectSettings(max_event_bytes=1, max_body_bytes=len(text)))
    with pytest.raises(TooLarge, match=r"^data: is larger than"):
        draft(text, settings=DialectSettings(max_body_bytes=len(text) - 1))


def test_the_number_of_messages_is_bounded() -> None:
    history = b"[" + b",".join([b"1"] * (checkpoint_event.MAX_MESSAGES + 1)) + b"]"
    with pytest.raises(Invalid, match=r"^data\.history: has more than 50000 items"):
        draft(b'{"thread_id":"t","step_index":0,"history":' + history + b"}")
    found = draft(b'{"thread_id":"t","step_index":0,"history":' + history.replace(b"1,", b"", 1) + b"}").history
    assert found is not None
    assert len(found.messages) == checkpoint_event.MAX_MESSAGES


@given(st.dictionaries(st.sampled_from([*SEED, "other"]), JSON))
def test_any_object_is_a_checkpoint_or_refused_by_a_field(data: dict[str, Any]) -> None:
    found = tried(lambda: draft(data))
    if isinstance(found, TowerlogError):
        assert found.field is not None
        assert found.field.startswith("data")
        return
    kept = {name: value for name, value in data.items() if not name.startswith("history")}
    assert json.loads(found.data) == kept


@given(JSON.filter(lambda value: not isinstance(value, dict)))
def test_what_is_no_object_is_no_checkpoint(data: Any) -> None:
    with pytest.raises(Invalid, match="data: Expected `object`"):
        draft(data)
