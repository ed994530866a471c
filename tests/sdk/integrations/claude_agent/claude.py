"""Stands in for the program that the Claude Agent SDK starts: reads and writes what that does, by a script.

    python claude.py … (whatever the SDK asks for)

The script is the JSON in `CLAUDE_SCRIPT`: the messages of each turn; one of type `ask` stands for a request for
permission, after whose answer the messages under its `allow` or its `deny` follow.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

MODEL = "claude-offline-1"
USAGE = {"input_tokens": 100, "cache_read_input_tokens": 500, "output_tokens": 1}
SUMS = {MODEL: {"inputTokens": 200, "cacheReadInputTokens": 1000, "outputTokens": 90, "costUSD": 0.0125}}
INIT = {"type": "system", "subtype": "init", "session_id": "s1", "model": MODEL}
TEXT = {
    "type": "assistant",
    "message": {
        "id": "m1",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "It is cold."}],
        "usage": USAGE,
    },
    "parent_tool_use_id": None,
    "session_id": "s1",
}
RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "result": "Done.",
    "duration_ms": 10,
    "duration_api_ms": 9,
    "num_turns": 2,
    "session_id": "s1",
    "modelUsage": SUMS,
}


def stand_in(folder: Path) -> str:
    """A program `claude` in a folder, which this module is."""
    made = folder / "claude"
    made.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} "$@"\n')
    made.chmod(made.stat().st_mode | stat.S_IXUSR)
    return str(made)


def say(message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def heard() -> Any:
    line = sys.stdin.readline()
    return json.loads(line) if line else None


def follow(script: list[Any]) -> None:
    for message in script:
        if message["type"] != "ask":
            say(message)
            continue
        asked = {"subtype": "can_use_tool", "tool_name": message["tool"], "input": message["input"]}
        asked |= {"tool_use_id": message["id"]} if "id" in message else {}
        say({"type": "control_request", "request_id": "ask-1", "request": {**asked, "permission_suggestions": []}})
        while (answer := heard()) is not None and answer["type"] != "control_response":
            pass
        behavior = answer["response"]["response"]["behavior"]
        follow(message[behavior])


def main() -> None:
    if any(argument in ("-v", "--version") for argument in sys.argv[1:]):
        sys.stdout.write("99.0.0 (Claude Code)\n")
        return
    turns = json.loads(os.environ["CLAUDE_SCRIPT"])
    while (message := heard()) is not None:
        if message["type"] == "control_request":
            said = {"subtype": "success", "request_id": message["request_id"], "response": {}}
            say({"type": "control_response", "response": said})
        elif message["type"] == "user" and turns:
            follow(turns.pop(0))


if __name__ == "__main__":
    main()
