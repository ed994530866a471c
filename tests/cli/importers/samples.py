"""Files as the programs write them that `towerlog import` reads: small, with what makes each of them hard to read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SESSION = "5f0c1a52-6c0e-4d0e-9f0a-0d9a7a1f0001"
CODEX_SESSION = "0199f2aa-1111-7000-8000-00000000c0de"
LONG_AGO_S = 1_772_400_000
"""An hour and more after the times of the samples."""
USAGE = {
    "input_tokens": 200,
    "cache_creation_input_tokens": 50,
    "cache_read_input_tokens": 950,
    "output_tokens": 90,
    "service_tier": "standard",
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 40},
}


def written(path: Path, *lines: Any, goes_on: bool = False) -> Path:
    """A file of lines, which nobody has written to for long; or else just now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path if goes_on else left(path)


def left(path: Path) -> Path:
    """A file that nobody has written to for long."""
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return path


def at(second: int) -> str:
    """A time of the samples."""
    return f"2026-03-01T10:00:{second:02d}.000Z"


def entry(number: int, kind: str, message: Any = None, **more: Any) -> dict[str, Any]:
    """A line of Claude Code."""
    common = {
        "parentUuid": None if number == 1 else f"u{number - 1}",
        "isSidechain": False,
        "userType": "external",
        "cwd": "/srv/towers",
        "sessionId": SESSION,
        "version": "2.0.14",
        "gitBranch": "main",
        "uuid": f"u{number}",
        "timestamp": at(number),
    }
    return {**common, "type": kind, **({} if message is None else {"message": message}), **more}


def of_model(message_id: str, *content: Any, **more: Any) -> dict[str, Any]:
    """A message of the model, or a part of one."""
    whole = {"id": message_id, "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929"}
    return {**whole, "content": [*content], "stop_reason": "end_turn", "usage": USAGE, **more}


def claude_code() -> list[dict[str, Any]]:
    """A prompt, thoughts and two tools in one message of the model, a sub-agent, an answer, a second prompt."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "Grep", "input": {"pattern": "tower"}}
    task = {"type": "tool_use", "id": "toolu_2", "name": "Task", "input": {"prompt": "count them"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "3 files"}]}
    failed = {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no such agent", "is_error": True}
    early = {"usage": {**USAGE, "output_tokens": 3}, "stop_reason": None}
    return [
        {"type": "file-history-snapshot", "messageId": "m0", "snapshot": {}},
        entry(1, "user", {"role": "user", "content": "which towers lean?"}),
        entry(2, "assistant", of_model("msg_1", {"type": "thinking", "thinking": "hm"}, **early)),
        entry(3, "assistant", of_model("msg_1", {"type": "text", "text": "Let me look."}, **early)),
        entry(4, "assistant", of_model("msg_1", call, **early)),
        entry(5, "user", {"role": "user", "content": [result]}, toolUseResult={"files": 3}),
        entry(6, "assistant", of_model("msg_1", task)),
        entry(7, "user", {"role": "user", "content": "count them"}, isSidechain=True, parentUuid=None),
        entry(8, "assistant", of_model("msg_s", {"type": "text", "text": "two"}), isSidechain=True, parentUuid="u7"),
        entry(9, "user", {"role": "user", "content": [failed]}),
        entry(10, "assistant", of_model("msg_2", {"type": "text", "text": "Pisa."}), costUSD=0.0123456789),
        entry(11, "system", subtype="compact_boundary", content="Conversation compacted"),
        entry(12, "user", {"role": "user", "content": "thanks"}),
        entry(
            13,
            "assistant",
            of_model("x", {"type": "text", "text": "API Error"}, model="<synthetic>"),
            isApiErrorMessage=True,
        ),
    ]


def codex() -> list[dict[str, Any]]:
    """Instructions, a prompt, thoughts, a tool, an answer; totals that are told twice."""

    def line(second: int, kind: str, /, **payload: Any) -> dict[str, Any]:
        return {"timestamp": at(second), "type": kind, "payload": payload}

    def used(second: int, *counts: int) -> dict[str, Any]:
        names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens")
        info = {"total_token_usage": dict(zip(names, counts, strict=True)), "model_context_window": 272000}
        return line(second, "event_msg", type="token_count", info=info, rate_limits={})

    def said(role: str, text: str) -> dict[str, Any]:
        kind = "output_text" if role == "assistant" else "input_text"
        return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}

    output = json.dumps({"output": "3 files", "metadata": {"exit_code": 1, "duration_seconds": 0.1}})
    return [
        line(
            1,
            "session_meta",
            id=CODEX_SESSION,
            timestamp=at(0),
            cwd="/srv",
            cli_version="0.55.0",
            model_provider="openai",
        ),
        line(1, "response_item", **said("user", "<environment_context>…</environment_context>")),
        line(2, "event_msg", type="user_message", message="which towers lean?", kind="plain"),
        line(2, "response_item", **said("user", "which towers lean?")),
        line(2, "turn_context", cwd="/srv", model="gpt-5-codex", approval_policy="on-request"),
        line(3, "event_msg", type="token_count", info=None, rate_limits={}),
        line(
            3,
            "response_item",
            type="reasoning",
            summary=[{"type": "summary_text", "text": "hm"}],
            encrypted_content="x",
        ),
        line(
            4, "response_item", type="function_call", name="shell", arguments='{"command":["grep"]}', call_id="call_1"
        ),
        line(5, "response_item", type="function_call_output", call_id="call_1", output=output),
        used(5, 1200, 1000, 90, 40, 1290),
        used(6, 1200, 1000, 90, 40, 1290),
        line(7, "event_msg", type="agent_message", message="Pisa."),
        line(7, "response_item", **said("assistant", "Pisa.")),
        used(8, 2500, 2100, 100, 40, 2600),
        line(9, "event_msg", type="user_message", message="thanks"),
    ]


def langfuse() -> dict[str, Any]:
    """A page of the API with one trace: an agent, a generation inside it, a tool that fails, an event."""

    def of(name: str, kind: str, start: int, end: int | None, **more: Any) -> dict[str, Any]:
        times = {"startTime": at(start), "endTime": None if end is None else at(end)}
        return {"id": f"o-{name}", "traceId": "t1", "type": kind, "name": name, **times, "level": "DEFAULT", **more}

    generation = of(
        "chat",
        "GENERATION",
        2,
        4,
        parentObservationId="o-agent",
        model="gpt-4o",
        input=[{"role": "user", "content": "which?"}],
        output="Pisa",
        usageDetails={
            "input": 200,
            "input_cached_tokens": 1000,
            "output": 50,
            "output_reasoning_tokens": 40,
            "total": 1290,
        },
        costDetails={"input": 0.001, "output": 0.0025, "total": 0.0035},
        calculatedTotalCost=0.0035000000000000001,
    )
    tool = of(
        "search", "TOOL", 4, 5, parentObservationId="o-agent", input={"q": "x"}, level="ERROR", statusMessage="down"
    )
    trace = {
        "id": "t1",
        "timestamp": at(1),
        "name": "towers",
        "sessionId": "s 1",
        "userId": "ada",
        "input": "which?",
        "output": {"answer": "Pisa"},
        "metadata": {"a": 1},
        "tags": ["x"],
        "observations": [
            tool,
            of("agent", "AGENT", 1, 6),
            generation,
            of("note", "EVENT", 3, None, parentObservationId="o-agent"),
        ],
    }
    return {"data": [trace], "meta": {"page": 1, "limit": 50, "totalItems": 1, "totalPages": 1}}


def langsmith() -> list[dict[str, Any]]:
    """A trace as runs: a chain that repeats the tokens of its model, the model, a tool."""

    def of(name: str, kind: str, start: int, end: int, parent: str | None, **more: Any) -> dict[str, Any]:
        times = {"start_time": at(start).removesuffix("Z"), "end_time": at(end).removesuffix("Z")}
        return {
            "id": f"r-{name}",
            "trace_id": "r-chain",
            "name": name,
            "run_type": kind,
            "parent_run_id": parent,
            **times,
            **more,
        }

    tokens = {"prompt_tokens": 1200, "completion_tokens": 90, "total_tokens": 1290, "total_cost": 0.0035}
    extra = {"metadata": {"thread_id": "th-1", "ls_model_name": "gpt-4o", "ls_provider": "openai"}}
    return [
        of(
            "chain",
            "chain",
            1,
            6,
            None,
            inputs={"q": "which?"},
            outputs={"a": "Pisa"},
            status="success",
            extra=extra,
            **tokens,
        ),
        of(
            "model",
            "llm",
            2,
            4,
            "r-chain",
            inputs={"messages": []},
            outputs={"generations": []},
            extra=extra,
            prompt_token_details={"cache_read": 1000},
            completion_token_details={"reasoning": 40},
            **tokens,
        ),
        of("search", "tool", 4, 5, "r-chain", inputs={"q": "x"}, outputs={"n": 3}, error=None),
    ]
