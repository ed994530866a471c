"""Towerlog: the control tower and flight recorder for AI agents.

`import towerlog` is the SDK: it costs next to nothing, for each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from towerlog.sdk.api.async_client import AsyncClient as AsyncClient
    from towerlog.sdk.api.client import Client as Client
    from towerlog.sdk.integrations import openai_agents as openai_agents
    from towerlog.sdk.integrations.claude_agent.session import claude_agent as claude_agent
    from towerlog.sdk.integrations.clients.wrap import wrap as wrap
    from towerlog.sdk.integrations.langchain.handler import langchain as langchain
    from towerlog.sdk.record.commands import QuestionExpired as QuestionExpired
    from towerlog.sdk.record.commands import QuestionRefused as QuestionRefused
    from towerlog.sdk.record.commands import RunCancelled as RunCancelled
    from towerlog.sdk.record.current import carry as carry
    from towerlog.sdk.record.current import current_run as current_run
    from towerlog.sdk.record.decorators import agent as agent
    from towerlog.sdk.record.decorators import tool as tool
    from towerlog.sdk.record.default import default_recorder as default_recorder
    from towerlog.sdk.record.default import flush as flush
    from towerlog.sdk.record.default import record_run as record_run
    from towerlog.sdk.record.default import start_run as start_run
    from towerlog.sdk.record.default import status as status
    from towerlog.sdk.record.recorder import Recorder as Recorder
    from towerlog.sdk.record.run_handles import AsyncRun as AsyncRun
    from towerlog.sdk.record.run_handles import Run as Run
    from towerlog.sdk.record.spans.reservations import BudgetExceeded as BudgetExceeded
    from towerlog.sdk.wire.errors import ApiError as ApiError
    from towerlog.sdk.wire.errors import Unreachable as Unreachable
    from towerlog.sdk.work.app import App as App

__version__ = "0.1.0"

_HOMES = {
    "ApiError": "wire.errors",
    "App": "work.app",
    "AsyncClient": "api.async_client",
    "AsyncRun": "record.run_handles",
    "BudgetExceeded": "record.spans.reservations",
    "Client": "api.client",
    "QuestionExpired": "record.commands",
    "QuestionRefused": "record.commands",
    "Recorder": "record.recorder",
    "Run": "record.run_handles",
    "RunCancelled": "record.commands",
    "Unreachable": "wire.errors",
    "agent": "record.decorators",
    "carry": "record.current",
    "claude_agent": "integrations.claude_agent.session",
    "current_run": "record.current",
    "default_recorder": "record.default",
    "flush": "record.default",
    "langchain": "integrations.langchain.handler",
    "record_run": "record.default",
    "start_run": "record.default",
    "status": "record.default",
    "tool": "record.decorators",
    "wrap": "integrations.clients.wrap",
}
"""Name → the module of `towerlog.sdk` that it lives in."""
_MODULES = {"openai_agents": "towerlog.sdk.integrations.openai_agents"}
"""Name → the module that it is."""


def __getattr__(name: str) -> Any:
    value: Any
    if name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"towerlog.sdk.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'towerlog' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
