"""Towerlog: the control tower and flight recorder for AI agents.

`import towerlog` is the SDK: it costs next to nothing, for each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from towerlog.sdk.app import App as App
    from towerlog.sdk.async_client import AsyncClient as AsyncClient
    from towerlog.sdk.client import Client as Client
    from towerlog.sdk.decorators import agent as agent
    from towerlog.sdk.decorators import tool as tool
    from towerlog.sdk.default import default_recorder as default_recorder
    from towerlog.sdk.default import flush as flush
    from towerlog.sdk.default import record_run as record_run
    from towerlog.sdk.default import status as status
    from towerlog.sdk.errors import ApiError as ApiError
    from towerlog.sdk.errors import Unreachable as Unreachable
    from towerlog.sdk.inbox import RunCancelled as RunCancelled
    from towerlog.sdk.recorder import Recorder as Recorder
    from towerlog.sdk.run import AsyncRun as AsyncRun
    from towerlog.sdk.run import Run as Run
    from towerlog.sdk.run import carry as carry
    from towerlog.sdk.run import current_run as current_run

__version__ = "0.1.0"

_HOMES = {
    "ApiError": "errors",
    "App": "app",
    "AsyncClient": "async_client",
    "AsyncRun": "run",
    "Client": "client",
    "Recorder": "recorder",
    "Run": "run",
    "RunCancelled": "inbox",
    "Unreachable": "errors",
    "agent": "decorators",
    "carry": "run",
    "current_run": "run",
    "default_recorder": "default",
    "flush": "default",
    "record_run": "default",
    "status": "default",
    "tool": "decorators",
}
"""Name → the module of `towerlog.sdk` that it lives in."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'towerlog' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"towerlog.sdk.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
