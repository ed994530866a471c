"""The names by which programs import adapters are those of the SDK."""

from __future__ import annotations

import towerlog
from towerlog.integrations import claude_agent, langchain, model_clients, openai_agents, pydantic_ai
from towerlog.sdk.integrations import pydantic_ai as adapter
from towerlog.sdk.integrations.clients import wrap
from towerlog.sdk.integrations.langchain import handler


def test_the_adapter_of_pydantic_ai_has_its_public_name() -> None:
    assert sorted(pydantic_ai.__all__) == ["adapt", "record"]
    assert (pydantic_ai.adapt, pydantic_ai.record) == (adapter.adapt, adapter.record)


def test_one_line_is_enough_for_the_others() -> None:
    assert towerlog.langchain is langchain.langchain is handler.langchain
    assert towerlog.claude_agent is claude_agent.claude_agent
    assert towerlog.wrap is model_clients.wrap is wrap.wrap


def test_an_adapter_may_be_a_module() -> None:
    assert towerlog.openai_agents.__all__ == openai_agents.__all__ == ["aanswer", "answer", "install"]
    assert towerlog.openai_agents.install is openai_agents.install
