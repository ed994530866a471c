"""An example of every native endpoint, for the OpenAPI document: what is sent, and what a success answers.

A test holds each against the types that decode and encode, so that none of them can grow old.
"""

from __future__ import annotations

from typing import Any

from towerlog.dialects.base import Sample
from towerlog.dialects.native.admin.samples import ADMIN
from towerlog.dialects.native.alerts.samples import ALERTS
from towerlog.dialects.native.approvals.samples import APPROVALS
from towerlog.dialects.native.money.samples import MONEY
from towerlog.dialects.native.screens.samples import SCREENS

Json = dict[str, Any]

RUN_ID = "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55"
AGENT_ID = "0196b2c4-0000-7000-8000-000000000003"
ORG_ID = "0196b2c0-0000-7000-8000-000000000001"
USER_ID = "0196b2c0-0000-7000-8000-000000000002"
KEY_ID = "0196b2c0-0000-7000-8000-000000000004"
BEGAN, AFTER, LATER = "2026-04-02T10:00:00.123Z", "2026-04-02T10:00:01.500Z", "2026-04-02T10:00:03.200Z"

USAGE: Json = {
    "input_tokens": 812,
    "cached_input_tokens": None,
    "cache_write_tokens": None,
    "output_tokens": 40,
    "reasoning_tokens": None,
    "total_tokens": 852,
}
LEASE: Json = {
    "state": "held",
    "worker_id": "worker-1",
    "lease_epoch": 1,
    "lease_expires_at": "2026-04-02T10:01:01.500Z",
    "last_heartbeat": AFTER,
}
RUN: Json = {
    "run_id": RUN_ID,
    "org_id": ORG_ID,
    "thread_id": "towers",
    "created_by_user_id": USER_ID,
    "status": "running",
    "created_at": BEGAN,
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "agent": "researcher",
    "agent_id": AGENT_ID,
    "source": "runs",
    "model": "some-model",
    "persona_id": "editor@1",
    "route_id": "fast",
    **dict.fromkeys(("parent_run_id", "resumed_from", "resumed_by", "retry_of", "forked_from")),
    "foreign_id": None,
    "implicit": False,
    "started_at": AFTER,
    "completed_at": None,
    "failed_at": None,
    "ended_at": None,
    "last_event_at": LATER,
    "last_seq": 9,
    "late_events": 0,
    "events_erased_at": None,
    "delivery": {
        "complete": False,
        "truncated": False,
        "clients": [
            {
                "client_id": "worker-1:1",
                "received": 5,
                "highest": 6,
                "missing": [[4, 4]],
                "dropped": 0,
                "truncated": False,
            }
        ],
    },
    "total_input_tokens": 812,
    "total_output_tokens": 40,
    "total_cost_usd": 0.0021,
    "cost_source": "computed",
    "price_version": "genai-prices 0.2.3",
    "unpriced_calls": 0,
    "duration_ms": None,
    "cache_hit_rate": None,
    "credits_used": 3,
    "usage": USAGE,
    "usage_flags": [],
    "tree": {
        "runs": 2,
        "total_input_tokens": 1024,
        "total_output_tokens": 90,
        "total_tokens": 1114,
        "total_cost_usd": 0.0034,
        "cost_source": "computed",
        "unpriced_calls": 0,
        "complete": True,
    },
    "error": None,
    "question": None,
    "question_id": None,
    "questions": [],
    "closed_questions": [],
    "phase": None,
    "attempt": 1,
    "forced": False,
    "cancel_requested_at": None,
    "cancel": None,
    "liveness": {"verdict": "alive", "process_at": LATER, "progress_at": LATER, "output_at": AFTER},
    "created_by_user_name": "admin",
    "created_by_email": None,
    "metadata": {"ticket": "T-1"},
    "input": "towers",
    "result": None,
    "lane": LEASE,
}
QUEUED: Json = RUN | {
    "status": "queued",
    "model": None,
    "started_at": None,
    "last_event_at": BEGAN,
    "last_seq": 1,
    "delivery": {"complete": None, "truncated": False, "clients": []},
    "total_input_tokens": None,
    "total_output_tokens": None,
    "total_cost_usd": None,
    "cost_source": None,
    "price_version": None,
    "credits_used": None,
    "usage": dict.fromkeys(USAGE),
    "tree": None, "attempt": 0,
    "liveness": {"verdict": None, "process_at": None, "progress_at": None, "output_at": None},
    "lane": LEASE | {"state": "queued", "worker_id": None, "lease_epoch": 0}
    | {"lease_expires_at": None, "last_heartbeat": None},
    "unserved": False, "busy_worker": None, "children": [],
}  # fmt: skip
KILLED: Json = RUN | {
    "status": "cancelled",
    "failed_at": LATER,
    "ended_at": LATER,
    "forced": True,
    "cancel_requested_at": LATER,
    "cancel": {
        "requested_at": LATER,
        "delivered_at": None,
        "acknowledged_at": None,
        "stopped_at": None,
        "forced_at": LATER,
        "reason": "it answers nobody",
    },
    "liveness": {"verdict": None, "process_at": AFTER, "progress_at": AFTER, "output_at": AFTER},
    "result": None,
}
AGENT: Json = {
    "agent_id": AGENT_ID,
    "name": "researcher",
    "created_at": BEGAN,
    "run_count": 12,
    "event_count": 340,
    "error_count": 1,
    "usage": USAGE,
    "cost_usd": 0.0021,
    "cost_source": "computed",
    "price_version": "genai-prices 0.2.3",
    "unpriced_calls": 0,
    "last_event_at": LATER,
    "last_heartbeat_at": None,
}
THREAD: Json = {
    "thread_id": "towers",
    "title": None,
    "policy": "enqueue",
    "created_at": BEGAN,
    "updated_at": LATER,
    "run_count": 3,
    "open_run_count": 1,
    "erased_at": None,
}
EVENT: Json = {
    "seq": 4,
    "position": 1042,
    "type": "message.delta",
    "name": None,
    "data": {"content": "looking … "},
    "dialect": "lanes",
    "event_id": "0196b2c4-6a00-7000-8000-000000000001",
    "occurred_at": AFTER,
    "recorded_at": AFTER,
    "duration_ms": None,
    "late": False,
    "foreign": False,
    "future": False,
    "hash": "7d1f0a3c5e9b2846d0c4a8f16e3b97520f8d6c4ab1e25937860dfc4e1a7b3958",
}
CHECKPOINT: Json = {
    "checkpoint_id": "1:researcher",
    "run_id": RUN_ID,
    "thread_id": "towers",
    "agent": "researcher",
    "step_index": 1,
    "status": "in_progress",
    "seq": 7,
    "revision": 1,
    "message_count": 1,
    "is_initial": False,
    "created_at": AFTER,
    "updated_at": AFTER,
}
STATE: Json = CHECKPOINT | {
    "trace_id": RUN["trace_id"],
    "figures": {"state": {"found": 2}},
    "history": [{"role": "assistant", "content": "Two towers."}],
    "history_meta": None,
}
LANE: Json = {
    "run_id": RUN_ID,
    "thread_id": "towers",
    "agent": "researcher",
    "labels": {"gpu": "a100"},
    "attempt": 1,
    "queued_at": BEGAN,
    "claimed_at": AFTER,
    "lease_seconds": 60,
    "lease": LEASE,
    "unserved": False,
    "busy_worker": None,
    "phase": None,
    "log_line": None,
}
PERSONA: Json = {
    "persona_key": "editor",
    "version": "1",
    "agent": "writer",
    "instructions": "Shorten. Never flatter.",
    "model_settings": {"temperature": 0.2},
    "tools": ["search"],
    "budget": {"usd": 0.5, "tokens": None},
}
MADE_PERSONA: Json = {"persona_id": "editor@1", **PERSONA, "created_at": BEGAN}
ROUTE: Json = {
    "route_id": "fast",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "base_url": "https://api.openai.com/v1",
    "key_env": "OPENAI_API_KEY",
}
MADE_ROUTE: Json = {**ROUTE, "version": 1, "created_at": BEGAN}
KEY: Json = {
    "key_id": KEY_ID,
    "name": "build agent",
    "scopes": ["ingest"],
    "hint": "tl_live_crxk",
    "user_id": USER_ID,
    "created_at": BEGAN,
    "revoked_at": None,
}
TOLD: Json = {
    "client_id": "desk-1",
    "events": [
        {
            "event_id": "a1",
            "client_seq": 1,
            "run_key": "letter-7",
            "thread": "letters",
            "type": "run.started",
            "agent": "writer",
            "data": {"input": "Dear all"},
        },
        {"event_id": "a2", "client_seq": 2, "run_key": "letter-7", "type": "other", "data": {}},
        {
            "event_id": "a3",
            "client_seq": 3,
            "run_key": "letter-7",
            "type": "step",
            "data": {"name": "draft", "duration_ms": -5},
        },
    ],
    "runs": ["letter-6"],
    "wait_seconds": 0,
}
RESULTS: list[Json] = [
    {"event_id": "a1", "status": "stored", "run_id": RUN_ID, "seq": 1},
    {
        "event_id": "a2",
        "status": "refused",
        "run_id": None,
        "seq": None,
        "code": "validation_failed",
        "message": "events.1.data.name: is required",
        "field": "events.1.data.name",
    },
    {"event_id": "a3", "status": "stored", "run_id": RUN_ID, "seq": 2},
]
WARNINGS: list[Json] = [
    {
        "index": 2,
        "field": "data.duration_ms",
        "message": "data.duration_ms: Expected `number` >= 0.0; it is kept as it was sent and not used",
    }
]
COMMAND: Json = {
    "run_key": "letter-6",
    "run_id": "0196b2c4-7000-7000-8000-000000000009",
    "command_id": 12,
    "type": "input",
    "content": "yes",
}
REPORTED: Json = {
    "worker_id": "worker-1",
    "lease_epoch": 1,
    "client_id": "worker-1:1",
    "events": [
        {"event_id": "b1", "client_seq": 1, "type": "message.delta", "data": {"content": "Dear "}},
        {"event_id": "b2", "client_seq": 2, "type": "run.completed", "data": {"result": {"sent": True}}},
    ],
    "wait_seconds": 0,
}
WORKER: Json = {"worker_id": "worker-1", "last_heartbeat_at": AFTER, "run_ids": [RUN_ID]}
TOTAL: Json = {
    "hour": None,
    "agent": "researcher",
    "model": None,
    "events": 340,
    "runs_started": 12,
    "runs_ended": 11,
    "usage": USAGE,
    "cost_usd": 0.0021,
    "cost_source": "computed",
    "price_version": "genai-prices 0.2.3",
    "unpriced_calls": 0,
}


def _list(*rows: Json | str, after: str | None = None) -> Json:
    return {"data": [*rows], "next": after}


def _in_list(run: Json) -> Json:
    """The sample of a run as lists show it: without clients, input and result."""
    return run | {"delivery": run["delivery"] | {"clients": None}, "input": None, "result": None, "lane": None}


SAMPLES: dict[str, Sample] = {
    "list_agents": Sample(_list(AGENT)),
    "register_agent": Sample(AGENT, {"name": "researcher"}),
    "get_agent": Sample(AGENT),
    "list_lanes": Sample(_list(LANE) | {"queued": 0, "unserved": 0, "held": 1, "oldest_queued_at": None}),
    "list_workers": Sample(_list(WORKER)),
    "get_usage": Sample(_list(TOTAL) | {"since": "2026-04-01T00:00:00.000Z", "until": "2026-04-08T00:00:00.000Z"}),
    "list_runs": Sample(_list(_in_list(RUN), after="cnVuczoxMDQy") | {"found": None, "searched_to": None}),
    "find_runs": Sample(_list(RUN_ID)),
    "get_run": Sample(RUN | {"unserved": False, "busy_worker": None, "children": []}),
    "list_events": Sample(_list(EVENT)),
    "list_quarantine": Sample(
        _list(EVENT | {"seq": 1, "position": 0, "event_id": None, "occurred_at": None, "hash": None})
    ),
    "list_checkpoints": Sample(_list(CHECKPOINT)),
    "get_checkpoint": Sample(STATE),
    "list_threads": Sample(_list(THREAD)),
    "get_thread": Sample(THREAD),
    "pause_run": Sample(RUN, {"reason": "lunch"}),
    "resume_run": Sample(RUN | {"status": "paused"}, {"reason": "lunch is over"}),
    "cancel_run": Sample(RUN | {"status": "cancelling"}, {"reason": "never mind"}),
    "kill_run": Sample(KILLED, {"reason": "it answers nobody"}),
    "retry_run": Sample(QUEUED | {"resumed_from": RUN_ID, "retry_of": RUN_ID}, {"input": "Which are listed now?"}),
    "fork_run": Sample(
        QUEUED | {"resumed_from": RUN_ID, "forked_from": {"run_id": RUN_ID, "step_index": 1}}, {"step_index": 1}
    ),
    "tell_events": Sample({"results": RESULTS, "commands": [COMMAND], "warnings": WARNINGS}, TOLD),
    "report_run": Sample(
        {
            "results": [
                {"event_id": name, "status": "stored", "run_id": RUN_ID, "seq": seq}
                for name, seq in (("b1", 4), ("b2", 5))
            ],
            "commands": [],
            "run": LANE | {"lease": LEASE | {"state": "done", "lease_expires_at": None}},
        },
        REPORTED,
    ),
    "list_personas": Sample(_list(MADE_PERSONA)),
    "create_persona": Sample(MADE_PERSONA, PERSONA),
    "get_persona": Sample(MADE_PERSONA),
    "list_routes": Sample(_list(MADE_ROUTE)),
    "create_route": Sample(MADE_ROUTE, ROUTE),
    "get_route": Sample(MADE_ROUTE),
    "list_keys": Sample(_list(KEY)),
    "create_key": Sample(KEY | {"key": "tl_live_crxk…"}, {"name": "build agent", "scopes": ["ingest"]}),
    "revoke_key": Sample(KEY | {"revoked_at": LATER}),
    **MONEY,
    **APPROVALS,
    **ALERTS,
    **ADMIN,
    **SCREENS,
}
"""Name of the endpoint → its example."""
