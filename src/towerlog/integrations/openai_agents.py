"""The OpenAI Agents SDK: `install()` has every run reported, `answer(result)` waits for people to approve calls."""

from __future__ import annotations

from towerlog.sdk.integrations.openai_agents import aanswer, answer, install

__all__ = ["aanswer", "answer", "install"]
