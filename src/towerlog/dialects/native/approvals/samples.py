"""Examples of the endpoints of the inbox."""

from __future__ import annotations

from typing import Any

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Sample

QUESTION: dict[str, Any] = {
    "approval_id": f"{v.UUID}.q4",
    "kind": "question",
    "state": "open",
    "run_id": v.UUID,
    "thread_id": "letters",
    "agent": "writer",
    "run_status": "waiting_for_input",
    "question_id": 4,
    "question": "Send the letter to Ada?",
    "context": None,
    "tool_calls": None,
    "step_index": None,
    "schema": {"enum": ["send", "wait", "drop"]},
    "risk": "high",
    "asked_at": "2026-04-02T10:00:03.200Z",
    "expires_at": "2026-04-02T12:00:03.200Z",
    "on_expiry": "deny",
    "expired": False,
    "answered_at": None,
    "answered_by": None,
    "resumed_at": None,
}
CALLS: dict[str, Any] = QUESTION | {
    "approval_id": f"{v.UUID}.a2.9",
    "kind": "approval",
    "question_id": None,
    "question": None,
    "tool_calls": [{"id": "call_1", "name": "delete_page", "arguments": {"page": "old"}}],
    "step_index": 2,
    "schema": None,
    "risk": None,
    "expires_at": None,
    "on_expiry": "wait",
}

APPROVALS: dict[str, Sample] = {
    "list_approvals": Sample({"data": [QUESTION, CALLS], "next": None}),
    "get_approval": Sample(
        QUESTION
        | {
            "state": "answered",
            "run_status": "running",
            "answered_at": "2026-04-02T10:04:00.000Z",
            "answered_by": "Ada",
            "resumed_at": "2026-04-02T10:04:00.120Z",
        }
    ),
    "create_answer_link": Sample(
        {
            "approval_id": f"{v.UUID}.q4",
            "path": "/a/Zm9vYmFy",
            "url": "https://towerlog.example.com/a/Zm9vYmFy",
            "sent_to": "ops@example.com",
            "expires_at": "2026-04-03T10:00:00.000Z",
        },
        {"sent_to": "ops@example.com"},
    ),
    "answer_approval": Sample(
        {
            "approval_id": f"{v.UUID}.q4",
            "kind": "question",
            "run_id": v.UUID,
            "question_id": 4,
            "state": "answered",
        },
        {"content": "send"},
    ),
}
"""Name of the endpoint → its example."""
