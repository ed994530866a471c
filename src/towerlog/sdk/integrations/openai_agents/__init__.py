"""The OpenAI Agents SDK: every run of its runner is a run, from `install()` on."""

from __future__ import annotations

from towerlog.sdk.integrations.openai_agents.approvals import aanswer, answer
from towerlog.sdk.integrations.openai_agents.runs import install

__all__ = ["aanswer", "answer", "install"]
