"""Tool calls that a person has to approve, as questions: their wording, and what an answer means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

YES = frozenset({"yes", "y", "ok", "true", "approve", "approved", "allow", "1"})
"""Answers that approve a tool call; every other one denies it, and is given to the model as the reason."""
DENIED = "The tool call was denied."


def in_words(tool: str, arguments: object) -> str:
    """A call as people read it."""
    if isinstance(arguments, Mapping):
        shown = ", ".join(f"{name}={_json(value)}" for name, value in arguments.items())
    else:
        shown = arguments if isinstance(arguments, str) else _json(arguments)
    return f"{tool}({shown})"


def question_of(tool: str, arguments: object) -> str:
    """What a person is asked."""
    return f"Approve {in_words(tool, arguments)}? Answer yes, or say why not."


def approves(answer: object) -> bool:
    """Whether an answer is a yes."""
    return str(answer).strip().lower().rstrip(" .!") in YES


def reason_of(answer: object) -> str:
    """Why a call was denied."""
    return str(answer).strip() or DENIED


def _json(value: Any) -> str:
    return json.dumps(value, default=repr)
