"""Events: the closed set of types, what each does to its run, and what is kept of a draft."""

from __future__ import annotations

import msgspec
import pytest

from towerlog.model.event import TARGET_STATUS, EventType, cursor_text
from towerlog.model.facts import NO_FACTS, CheckpointFacts, Effects, Facts, LaneFacts, Origin
from towerlog.model.feed import FEED_TYPES
from towerlog.model.run import TERMINAL, Status
from towerlog.model.usage import Usage, UsageReport

ENDS = {EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED, EventType.RUN_LOST}


def test_every_status_is_reached_by_some_event() -> None:
    assert set(TARGET_STATUS.values()) == set(Status)


def test_only_ends_end_a_run() -> None:
    assert {kind for kind, status in TARGET_STATUS.items() if status in TERMINAL} == ENDS | {EventType.BUDGET_EXCEEDED}


@pytest.mark.parametrize(
    "kind", [EventType.MESSAGE_DELTA, EventType.TOOL_CALL, EventType.STEP, EventType.CHECKPOINT, EventType.OTHER]
)
def test_what_happens_inside_a_run_leaves_its_status(kind: EventType) -> None:
    assert kind not in TARGET_STATUS


def test_message_text_has_no_place_in_a_feed() -> None:
    content = {EventType.MESSAGE_DELTA, EventType.RUN_INPUT, EventType.STEP, EventType.RUN_WAITING}
    assert not FEED_TYPES & content


def test_the_names_of_types_are_the_wire_of_the_runs_dialect() -> None:
    named = {"run.started", "message.delta", "tool.call", "tool.result", "run.waiting_for_input", "other"}
    assert named <= {kind.value for kind in EventType}


def test_facts_keep_only_what_is_known() -> None:
    assert msgspec.json.encode(NO_FACTS) == b"{}"
    assert (
        msgspec.json.encode(Facts(success=False, effects=Effects(model="m")))
        == b'{"success":false,"effects":{"model":"m"}}'
    )


def test_facts_survive_their_storage() -> None:
    facts = Facts(
        name="workflow_started",
        spent=Usage(output_tokens=3),
        effects=Effects(
            status=Status.WAITING,
            report=UsageReport(Usage(input_tokens=1, cost_nanos=2), whole_run=True),
            checkpoint=CheckpointFacts(3, "idle", node="ab", length=2, has_meta=False, digest="cd"),
            lane=LaneFacts("worker", 4, 1, "packing"),
            origin=Origin("run", "thread", "trace", implicit=True, source="steps"),
        ),
    )
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Facts) == facts


def test_metadata_survives_its_storage_as_it_was_sent() -> None:
    facts = Facts(effects=Effects(metadata=msgspec.Raw(b'{"tokens_used": 420, "cost": 1e400}')))
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Facts) == facts


def test_a_cursor_names_its_log_first() -> None:
    assert cursor_text("e1", 42) == "e1-42"
    assert cursor_text("e1", 42) != cursor_text("e2", 42)
