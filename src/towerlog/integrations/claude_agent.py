"""The Claude Agent SDK: an object that reports the messages of its turns, and asks people for permissions."""

from __future__ import annotations

from towerlog.sdk.integrations.claude_agent.session import ClaudeAgent, claude_agent

__all__ = ["ClaudeAgent", "claude_agent"]
