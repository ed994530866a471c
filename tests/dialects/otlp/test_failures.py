"""What of a span with a bad status is a failure, and what is the way in which a program goes on or is stopped."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.otlp.test_dialect import drafts
from tests.support.otlp import attribute, span
from towerlog.dialects.otlp import names
from towerlog.model.event import EventType

FAILED, COMPLETED = EventType.RUN_FAILED, EventType.RUN_COMPLETED


def ended(message: str, exception: str | None = None, **attributes: Any) -> EventType:
    """How a run ends whose root has a bad status."""
    told = span(1, gen_ai__operation__name="invoke_agent", **attributes)
    told["status"] = {"code": 2, "message": message}
    if exception is not None:
        about = [{"key": "exception.type", "value": attribute(exception)}]
        told["events"] = [{"name": "exception", "timeUnixNano": "1", "attributes": about}]
    return drafts(told)[-1].type


@pytest.mark.parametrize("name", sorted(one for one in names.NO_FAILURES if "." not in one))
def test_an_interrupt_a_hand_over_and_a_cancel_are_no_failures(name: str) -> None:
    assert ended(f"{name}((Interrupt(value='ok?'),))") is COMPLETED
    assert ended(f"{name}: ") is COMPLETED
    assert ended(name) is COMPLETED
    assert ended("", f"some.module.{name}") is COMPLETED
    assert ended("(Interrupt(value='ok?'),)", name) is COMPLETED
    assert ended("", error__type=f"module.{name}") is COMPLETED


@pytest.mark.parametrize(
    "name",
    [
        "pydantic_ai.exceptions.ApprovalRequired",
        "llama_index.core.workflow.errors.WorkflowDone",
        "workflows.errors.WorkflowCancelledByUser",
        "crewai.flow.async_feedback.types.HumanFeedbackPending",
        "agno.exceptions.StopAgentRun",
        "concurrent.futures._base.CancelledError",
        "trio.Cancelled",
    ],
)
def test_neither_is_what_the_frameworks_stop_or_wait_by(name: str) -> None:
    """As the SDK of OpenTelemetry writes them: the class in the status, the whole name in the event."""
    assert ended(f"{name.rpartition('.')[2]}: x", name) is COMPLETED


def test_a_tool_that_waits_for_approval_has_not_failed() -> None:
    told = span(2, 1, gen_ai__operation__name="execute_tool", gen_ai__tool__name="deploy", gen_ai__tool__call__id="c")
    told["status"] = {"code": 2, "message": "ApprovalRequired: "}
    results = [one.facts for one in drafts(told) if one.type is EventType.TOOL_RESULT]
    assert [(one.success, one.error) for one in results] == [(True, None)]


def test_any_other_exception_is_one() -> None:
    assert ended("ValueError: GraphInterrupt") is FAILED
    assert ended("ValueError: no such city", "GraphInterrupt") is FAILED, "what it has ended with is its message"
    assert ended("broken", "ValueError") is FAILED
    assert ended("") is FAILED
    assert ended("interrupted", "langgraph.errors.GraphInterrupt") is COMPLETED
    assert ended("", "GraphInterruptError") is FAILED
    assert ended("Cancelled: by the bank", "payments.Cancelled") is FAILED, "a word of many"
    assert ended("Cancelled: by the bank") is FAILED
