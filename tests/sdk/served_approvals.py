"""Agents of pydantic-ai for a worker of the tests: `towerlog worker --app tests.sdk.served_approvals:app`."""

from __future__ import annotations

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from towerlog.sdk.work.app import App

app = App()


def _pays(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    said = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    if said:
        return ModelResponse(parts=[TextPart(str(said[-1].content))])
    return ModelResponse(parts=[ToolCallPart("pay", {"dollars": 100})])


paying: Agent[None, str] = Agent(FunctionModel(_pays), name="paying")


@paying.tool_plain(requires_approval=True)
def pay(dollars: int) -> str:
    """Pays."""
    return f"paid {dollars}"


app.add("paying", paying)
