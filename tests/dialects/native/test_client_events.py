"""One event of a client → one draft: what each type says to the folds, and each field wrong in every way."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from towerlog.dialects.base import DialectSettings
from towerlog.dialects.native.client_events import KINDS, TYPES, client_draft, run_ref
from towerlog.dialects.native.event_json import ClientEvent, ReportedEvent
from towerlog.errors import Invalid, TooLarge
from towerlog.model.event import Draft, EventType, FieldWarning, History, HistoryBase, RunByForeignId, RunById
from towerlog.model.facts import LATEST_STEP, CheckpointFacts, Effects, Facts
from towerlog.model.usage import Usage, UsageReport

E = EventType
RUN = "0189d3f0-0000-7000-8000-000000000007"
GOOD: dict[str, Any] = {
    "run.started": {},
    "run.completed": {},
    "run.failed": {"error": "no"},
    "run.cancelled": {},
    "run.waiting_for_input": {"question": "Which?"},
    "run.question_withdrawn": {"question_id": 3},
    "run.paused": {},
    "run.resumed": {},
    "budget.warning": {},
    "budget.exceeded": {},
    "step": {"name": "n"},
    "message.delta": {"content": "x"},
    "tool.call": {"tool": "t", "tool_call_id": "c"},
    "tool.result": {"tool": "t", "tool_call_id": "c"},
    "model.call": {"model": "m"},
    "checkpoint": {"step_index": 0, "history": []},
    "command.acknowledged": {"command_id": 3, "type": "cancel"},
    "other": {"name": "own"},
}
"""The least that each type needs."""


def draft_of(
    event: dict[str, Any],
    client_id: str | None = "c",
    settings: DialectSettings | None = None,
    warnings: list[FieldWarning] | None = None,
) -> Draft:
    """The draft of an event, read as a batch would read it, at index 4."""
    whole = {"event_id": "e", "client_seq": 1, "type": "step", **event}
    read = msgspec.json.decode(json.dumps(whole), type=ReportedEvent)
    found: list[FieldWarning] = [] if warnings is None else warnings
    return client_draft(read, 4, RunById(RUN), client_id, settings or DialectSettings(), found)


def warned_field(event: dict[str, Any]) -> str:
    """The one field that is named in a warning; all that was sent is kept."""
    warnings: list[FieldWarning] = []
    draft = draft_of(event, warnings=warnings)
    [warning] = warnings
    assert warning.message.startswith(warning.field)
    kept, sent = json.loads(draft.data), event["data"]
    if warning.field in ("data", "time"):
        assert kept["towerlog_invalid"] == {warning.field: event[warning.field]}
    elif draft.type is not EventType.CHECKPOINT:
        assert kept == sent
    return warning.field


def facts_of(kind: str, **data: Any) -> Facts:
    """What the folds get of an event of a type, beside its number."""
    facts = draft_of({"type": kind, "data": {**GOOD[kind], **data}}).facts
    assert (facts.client_id, facts.client_seq) == ("c", 1)
    return msgspec.structs.replace(facts, client_id=None, client_seq=None)


def wrong_field(event: dict[str, Any]) -> str | None:
    """The field that an event is refused for."""
    with pytest.raises(Invalid) as caught:
        draft_of(event)
    assert caught.value.field is not None
    assert caught.value.message.startswith(caught.value.field)
    return caught.value.field


def test_every_type_that_a_client_may_say_has_its_example() -> None:
    assert set(GOOD) == {type_.value for type_ in TYPES} == {type_.value for type_ in KINDS} | {"checkpoint"}


@pytest.mark.parametrize("kind", GOOD)
def test_the_data_is_kept_as_it_was_sent(kind: str) -> None:
    data = {**GOOD[kind], "more": [1.50, None, {"z": 1, "a": 2}]}
    draft = draft_of({"type": kind, "data": data})
    assert (draft.type, draft.event_id, draft.run) == (kind, "e", RunById(RUN))
    kept = json.loads(draft.data)
    assert kept == {name: value for name, value in data.items() if kind != "checkpoint" or name != "history"}


def ends(status: str) -> Effects:
    """What an end says of the run's last checkpoint."""
    return Effects(checkpoint=CheckpointFacts(LATEST_STEP, status, decision=True))


@pytest.mark.parametrize(
    ("kind", "data", "facts"),
    [
        ("run.started", {}, Facts(effects=Effects(is_start=True))),
        ("run.started", {"parent_run_id": RUN.upper()}, Facts(effects=Effects(is_start=True, parent_key=f"run:{RUN}"))),
        ("run.started", {"parent_run_key": "p"}, Facts(effects=Effects(is_start=True, parent_key="foreign:sdk:p"))),
        (
            "run.started",
            {"metadata": {"a": 1}},
            Facts(effects=Effects(is_start=True, metadata=msgspec.Raw(b'{"a": 1}'))),
        ),
        ("run.started", {"metadata": None, "labels": {}}, Facts(effects=Effects(is_start=True))),
        ("run.completed", {"result": [1]}, Facts(success=True, effects=ends("completed"))),
        ("run.failed", {"error": "a\n b"}, Facts(error="a b", success=False, effects=ends("error"))),
        (
            "run.failed",
            {"error": {"message": "m", "type": "T"}},
            Facts(error="m", success=False, effects=ends("error")),
        ),
        ("run.failed", {"error": ""}, Facts(error="failed", success=False, effects=ends("error"))),
        ("run.cancelled", {"reason": "why"}, Facts(error="why", effects=ends("error"))),
        ("run.cancelled", {}, Facts(effects=ends("error"))),
        ("run.paused", {}, Facts(effects=Effects(acknowledges="pause"))),
        ("run.waiting_for_input", {}, Facts(question="Which?")),
        (
            "run.waiting_for_input",
            {"question_key": "k"},
            Facts(question="Which?", effects=Effects(question_key="k")),
        ),
        ("run.question_withdrawn", {}, Facts(effects=Effects(question_id=3))),
        ("run.question_withdrawn", {"question_key": "k"}, Facts(effects=Effects(question_id=3, question_key="k"))),
        (
            "step",
            {"duration_ms": 1.6, "phase": "end", "span_id": "s", "parent_span_id": "p"},
            Facts(ends="s", step="n", duration_ms=2),
        ),
        ("message.delta", {}, Facts()),
        ("tool.call", {}, Facts(tool="t", tool_call_id="c")),
        ("tool.result", {"success": True}, Facts(tool="t", tool_call_id="c", success=True)),
        (
            "tool.result",
            {"error": "x", "duration_ms": 5},
            Facts(tool="t", tool_call_id="c", success=False, duration_ms=5),
        ),
        ("tool.result", {"error": None}, Facts(tool="t", tool_call_id="c")),
        (
            "model.call",
            {"input_tokens": 1, "cached_input_tokens": 2, "output_tokens": 3, "cost_usd": 0.25, "duration_ms": 9.4},
            Facts(
                success=True,
                duration_ms=9,
                effects=Effects(report=UsageReport(Usage(1, 2, None, 3, None, None, 250_000_000), "delta"), model="m"),
            ),
        ),
        ("command.acknowledged", {"note": "done"}, Facts(effects=Effects(command_id=3))),
        ("command.acknowledged", {"taken": False}, Facts(effects=Effects(command_id=3, untaken=True))),
        ("command.acknowledged", {"taken": True}, Facts(effects=Effects(command_id=3))),
        ("other", {}, Facts(name="own")),
        (
            "other",
            {"name": "client.dropped", "payload": {"from_seq": 2, "to_seq": 5, "reason": "full"}},
            Facts(name="client.dropped", client_dropped=(2, 5)),
        ),
    ],
)
def test_what_the_folds_learn(kind: str, data: dict[str, Any], facts: Facts) -> None:
    assert facts_of(kind, **data) == facts


def test_labels_stand_in_the_metadata() -> None:
    found = facts_of("run.started", labels={"l": "m"}, metadata={"a": 1}).effects.metadata
    assert json.loads(bytes(found)) == {"labels": {"l": "m"}, "a": 1}  # type: ignore[arg-type]
    own = facts_of("run.started", labels={"l": "m"}, metadata={"labels": 5}).effects.metadata
    assert json.loads(bytes(own)) == {"labels": 5}, "the sender's own word wins"  # type: ignore[arg-type]


def test_a_checkpoint_brings_its_history_and_state() -> None:
    state = {"step_index": 2, "history": [{"role": "user"}], "history_meta": [{"t": 1}], "state": {"k": [1]}}
    draft = draft_of({"type": "checkpoint", "data": state, "agent": "a"})
    assert draft.effects.checkpoint is not None
    assert draft.history is not None
    assert (draft.effects.checkpoint.step_index, list(draft.history.messages)) == (2, [b'{"role":"user"}'])
    assert json.loads(draft.data) == {"step_index": 2, "state": {"k": [1]}}
    assert (draft.agent, draft.agent_default) == ("a", "default")


@pytest.mark.parametrize(
    ("time", "occurred_at"),
    [
        (None, None),
        ("", None),
        (946_684_800_000, 946_684_800_000),
        (1_775_124_000_123, 1_775_124_000_123),
        ("2026-04-02T10:00:00.123Z", 1_775_124_000_123),
        ("2026-04-02T12:00:00.123+02:00", 1_775_124_000_123),
    ],
)
def test_a_time_is_text_or_milliseconds(time: Any, occurred_at: int | None) -> None:
    assert draft_of({"data": {"name": "n"}, "time": time}).occurred_at == occurred_at


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_id": ""}, "event_id"),
        ({"event_id": "x" * 129}, "event_id"),
        ({"event_id": "a b"}, "event_id"),
        ({"event_id": "a\n"}, "event_id"),
        ({"event_id": "\u00fc"}, "event_id"),
        ({"client_seq": None}, "client_seq"),
        ({"type": ""}, "type"),
        ({"type": "stepp"}, "type"),
        ({"type": "Step"}, "type"),
        ({"type": "run.queued"}, "type"),
        ({"type": "run.lost"}, "type"),
        ({"type": "run.cancel_requested"}, "type"),
        ({"type": "lane.lost"}, "type"),
        ({"agent": "x" * 201}, "agent"),
        ({"type": "checkpoint", "data": []}, "data"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    assert wrong_field({"data": {"name": "n"}, **change}) == f"events.4.{field}"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"time": -1}, "time"),
        ({"time": 0}, "time"),
        ({"time": 1_795_168_800}, "time"),
        ({"time": 10**15}, "time"),
        ({"time": 1.5}, "time"),
        ({"time": True}, "time"),
        ({"time": ["2026-04-02T10:00:00Z"]}, "time"),
        ({"time": "yesterday"}, "time"),
        ({"time": "0001-01-01T00:00:00Z"}, "time"),
        ({"time": "2026-13-01T00:00:00Z"}, "time"),
        ({"data": []}, "data"),
        ({"data": "x"}, "data"),
        ({"data": 1}, "data"),
    ],
)
def test_an_odd_envelope_costs_no_event(change: dict[str, Any], field: str) -> None:
    assert warned_field({"type": "run.paused", "data": {"name": "n"}, **change}) == field


ABSENT = object()


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("run.started", "parent_run_id", ["x", 1]),
        ("run.started", "parent_run_key", ["a b", "x" * 129, 1, "..", "."]),
        ("run.started", "metadata", [[], "x", 1, True]),
        ("run.started", "labels", [[], "x", {str(number): "" for number in range(65)}]),
        ("run.failed", "error", [1, [], True]),
        ("run.cancelled", "reason", [1, [], {}]),
        ("run.waiting_for_input", "question", [ABSENT, None, 1, ""]),
        ("step", "name", [ABSENT, None, 1, "", "x" * 201]),
        ("step", "span_id", [1, "x" * 8193]),
        ("step", "parent_span_id", [1, ["a"]]),
        ("step", "phase", [1, "middle"]),
        ("step", "duration_ms", [-1, "soon", 2**60]),
        ("message.delta", "content", [ABSENT, None, 1]),
        ("tool.call", "tool", [ABSENT, None, 1, "", "x" * 201]),
        ("tool.call", "tool_call_id", [ABSENT, None, 1, "", "x" * 8193]),
        ("tool.result", "tool", [ABSENT, ""]),
        ("tool.result", "tool_call_id", [ABSENT, ""]),
        ("tool.result", "success", [1, "true"]),
        ("tool.result", "duration_ms", [-1, "1.5"]),
        ("model.call", "model", [ABSENT, None, 1, "", "x" * 201]),
        ("model.call", "input_tokens", [-1, 1.5, "one", 2**60]),
        ("model.call", "cached_input_tokens", [-1, "-1"]),
        ("model.call", "output_tokens", [-1, [1]]),
        ("model.call", "cost_usd", [-1, "cheap", [], 10**30, ""]),
        ("model.call", "duration_ms", [-1, {}]),
        ("command.acknowledged", "command_id", [ABSENT, None, "one", -1]),
        ("command.acknowledged", "type", [1, "x" * 201]),
        ("command.acknowledged", "note", [1, []]),
    ],
)
def test_a_detail_that_cannot_be_used_costs_no_event(kind: str, name: str, wrong: list[Any]) -> None:
    for value in wrong:
        data = {key: given for key, given in {**GOOD[kind], name: value}.items() if given is not ABSENT}
        field = warned_field({"type": kind, "data": data})
        assert field == f"data.{name}", value


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("checkpoint", "step_index", [ABSENT, None, -1, "one", 1.5]),
        ("checkpoint", "history", [ABSENT, {}, "x", 1]),
        ("checkpoint", "history_meta", [{}, 1, "x"]),
        ("other", "name", [ABSENT, None, 1, "", "x" * 201]),
    ],
)
def test_what_identifies_an_event_or_is_its_state_is_checked(kind: str, name: str, wrong: list[Any]) -> None:
    for value in wrong:
        data = {key: given for key, given in {**GOOD[kind], name: value}.items() if given is not ABSENT}
        field = wrong_field({"type": kind, "data": data})
        assert field in (f"events.4.data.{name}", f"events.4.data.{name}.0"), (value, field)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (ABSENT, ""),
        (None, ""),
        ([], ""),
        ({"to_seq": 5}, ".from_seq"),
        ({"from_seq": 1}, ".to_seq"),
        ({"from_seq": 0, "to_seq": 5}, ".from_seq"),
        ({"from_seq": 6, "to_seq": 5}, ".to_seq"),
        ({"from_seq": 1, "to_seq": 2**60}, ".to_seq"),
        ({"from_seq": 1, "to_seq": 5, "reason": 1}, ".reason"),
    ],
)
def test_what_was_dropped_must_be_a_range(payload: Any, field: str) -> None:
    data = {"name": "client.dropped", "payload": payload} if payload is not ABSENT else {"name": "client.dropped"}
    assert wrong_field({"type": "other", "data": data}) == f"events.4.data.payload{field}"


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("other", DialectSettings(max_event_bytes=100)), ("checkpoint", DialectSettings(max_body_bytes=100))],
)
def test_too_large_an_event_says_so(kind: str, settings: DialectSettings) -> None:
    event = {"type": kind, "data": {**GOOD[kind], "more": "x" * 100}}
    with pytest.raises(TooLarge) as caught:
        draft_of(event, settings=settings)
    assert caught.value.field == "events.4.data"


def test_a_checkpoint_may_be_larger_than_an_event() -> None:
    event = {"type": "checkpoint", "data": {**GOOD["checkpoint"], "history": ["x" * 100], "state": "y" * 100}}
    assert draft_of(event, settings=DialectSettings(max_event_bytes=100)).history == History(
        (b'"%b"' % (b"x" * 100),), None
    )


def test_a_checkpoint_may_go_on_from_a_stored_history() -> None:
    base = {"node": "0123456789abcdef" * 2, "length": 3}
    draft = draft_of({"type": "checkpoint", "data": {"step_index": 4, "base": base, "history": ["new"]}})
    assert draft.history == History((b'"new"',), None, HistoryBase(bytes.fromhex("0123456789abcdef" * 2), 3))
    assert draft.data == b'{"step_index":4}'


@pytest.mark.parametrize(
    ("base", "field"),
    [
        (7, ""),
        ({"length": 1}, ".node"),
        ({"node": "00" * 16}, ".length"),
        ({"node": "00" * 16, "length": 0}, ".length"),
        ({"node": "00" * 15, "length": 1}, ".node"),
        ({"node": "XY" * 16, "length": 1}, ".node"),
    ],
)
def test_a_base_names_a_node_and_a_length(base: object, field: str) -> None:
    data = {"step_index": 4, "base": base, "history": []}
    assert wrong_field({"type": "checkpoint", "data": data}) == f"events.4.data.base{field}"


def test_without_a_client_nothing_is_numbered() -> None:
    draft = draft_of({"data": {"name": "n"}, "client_seq": 7}, client_id=None)
    assert (draft.facts.client_id, draft.facts.client_seq) == (None, None)


@pytest.mark.parametrize(
    ("key", "thread", "expected"),
    [
        ("k", None, ("sdk:k", "k", False)),
        ("k", "", ("sdk:k", "k", False)),
        ("k", "t", ("sdk:k", "t", True)),
        ("a/b", None, ("sdk:a/b", "a-b", False)),
        ("!" * 128, None, ("sdk:" + "!" * 128, "!" * 128, False)),
    ],
)
def test_a_run_is_known_by_its_key(key: str, thread: str | None, expected: tuple[str, str, bool]) -> None:
    assert run_ref(key, thread, "run_key") == RunByForeignId(*expected)


@pytest.mark.parametrize(
    ("key", "thread", "field"),
    [("", None, "run_key"), ("a b", None, "run_key"), ("x" * 129, None, "run_key"), ("k", "a/b", "thread")],
)
def test_a_wrong_key_is_named(key: str, thread: str | None, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        run_ref(key, thread, "run_key")
    assert caught.value.field == field


def test_an_event_of_any_run_names_its_run() -> None:
    with pytest.raises(msgspec.ValidationError, match="run_key"):
        msgspec.json.decode(b'{"event_id":"e","client_seq":1,"type":"step"}', type=ClientEvent)
