"""pydantic-ai: `record(agent)` for programs that call the agent themselves, `adapt(agent)` for what a worker serves."""

from __future__ import annotations

from towerlog.sdk.integrations.pydantic_ai import adapt, record

__all__ = ["adapt", "record"]
