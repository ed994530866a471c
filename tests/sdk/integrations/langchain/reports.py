"""A program with LangChain and LangGraph and their offline models: a function is a run in a thread of its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from typing import Annotated, Any, TypedDict

import httpx
from langchain_core.caches import InMemoryCache
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

import towerlog
from tests.support.wait import wait_until
from towerlog.sdk.integrations.langchain import answers as answers_module

USAGE = {
    "input_tokens": 1200,
    "output_tokens": 90,
    "total_tokens": 1290,
    "input_token_details": {"cache_read": 1000},
    "output_token_details": {"reasoning": 40},
}


def says(content: Any, **more: Any) -> AIMessage:
    told = {"model_name": "offline-1", "finish_reason": "stop"}
    return AIMessage(content=content, usage_metadata=USAGE, response_metadata=told, **more)


def model(*messages: AIMessage) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(messages))


def config(thread: str, *callbacks: Any) -> dict[str, Any]:
    """A graph tells its thread to callbacks by itself; of anything else the metadata does."""
    named = {"thread_id": thread}
    return {"callbacks": list(callbacks) or [towerlog.langchain()], "configurable": named, "metadata": named}


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]


class Plan(TypedDict, total=False):
    city: str
    note: str


def chain() -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{city}?")])
    made = prompt | model(says("It is cold.")) | StrOutputParser()
    assert made.invoke({"city": "Oslo"}, {**config("chain"), "run_name": "forecast"}) == "It is cold."


def streamed() -> None:
    async def run() -> None:
        made = model(says("It is cold.")) | StrOutputParser()
        pieces = [piece async for piece in made.astream("Oslo?", config("streamed"))]
        assert "".join(pieces) == "It is cold."

    asyncio.run(run())


@tool
def weather(city: str) -> str:
    """How it is there."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return f"cold in {city}"


def calls(*cities: str) -> AIMessage:
    made = [{"name": "weather", "args": {"city": city}, "id": f"call_{city}", "type": "tool_call"} for city in cities]
    return says("", tool_calls=made)


def agent_graph(answers: GenericFakeChatModel, tools: Any = (weather,), **options: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("model", lambda state: {"messages": [answers.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(list(tools), handle_tool_errors=True))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    graph.add_edge("tools", "model")
    return graph.compile(**options)


def tools() -> None:
    graph = agent_graph(model(calls("Oslo", "Atlantis"), says("Cold.")), name="forecaster")
    graph.invoke({"messages": [HumanMessage("Oslo?")]}, config("tools"))


def subgraph() -> None:
    inner = StateGraph(Plan)
    inner.add_node("look", lambda state: {"note": model(says("cold")).invoke("how?").content})
    inner.add_edge(START, "look")
    outer = StateGraph(Plan)
    outer.add_node("ask", inner.compile(name="observer"))
    outer.add_node("write", RunnableLambda(lambda state: {"note": state["note"] + "!"}) | RunnableLambda(lambda x: x))
    outer.add_edge(START, "ask")
    outer.add_edge("ask", "write")
    assert outer.compile(name="editor").invoke({"city": "Oslo"}, config("subgraph"))["note"] == "cold!"


def inherited() -> None:
    """Callbacks from everywhere: of the model, twice of the call, and of a call inside it that forgets the others."""
    answers = GenericFakeChatModel(messages=iter([says("It is cold.")]), callbacks=[towerlog.langchain()])
    made = RunnableLambda(lambda city: answers.invoke(city, {"callbacks": [towerlog.langchain()]}))
    one = towerlog.langchain()
    made.invoke("Oslo?", config("inherited", one, towerlog.langchain(), one))


def asking_graph() -> Any:
    graph = StateGraph(Plan)
    graph.add_node("ask", lambda state: {"note": interrupt({"question": "Publish?"})})
    graph.add_node("write", lambda state: {"note": f"said {state['note']}"})
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "write")
    return graph.compile(checkpointer=InMemorySaver(), name="publisher")


def answer_soon(thread: str, answer: str) -> threading.Thread:
    """A person who answers what a run of this thread asks."""

    def is_answered(client: towerlog.Client) -> bool:
        for one in client.list_approvals():
            if one.thread_id == thread and one.state == "open":
                client.answer_approval(one.approval_id, answer)
                return True
        return False

    def act() -> None:
        with towerlog.Client() as client:
            wait_until(lambda: is_answered(client), f"a question in {thread}")

    person = threading.Thread(target=act)
    person.start()
    return person


def asked() -> None:
    graph, handler = asking_graph(), towerlog.langchain()
    settings = config("asked", handler)
    result = graph.invoke({"city": "Oslo"}, settings)
    answer_soon("asked", "yes")
    result = graph.invoke(handler.answer(result, timeout=60), settings)
    assert result["note"] == "said yes"


def asked_async() -> None:
    async def run() -> None:
        graph, handler = asking_graph(), towerlog.langchain()
        settings = config("asked_async", handler)
        result = await graph.ainvoke({"city": "Oslo"}, settings)
        answer_soon("asked_async", "no")
        result = await graph.ainvoke(await handler.aanswer(result, timeout=60), settings)
        assert result["note"] == "said no"

    asyncio.run(run())


def answered_here() -> None:
    graph, settings = asking_graph(), config("answered_here")
    graph.invoke({"city": "Oslo"}, settings)
    assert graph.invoke(Command(resume="maybe"), settings)["note"] == "said maybe"


def abandoned() -> None:
    graph, settings = asking_graph(), config("abandoned")
    graph.invoke({"city": "Oslo"}, settings)
    graph.invoke({"city": "Bergen"}, settings)


def approved_inside() -> None:
    """A tool of a graph inside another one asks; both go on as the runs that they were."""

    @tool
    def publish(text: str) -> str:
        """Makes it public."""
        return f"published: {interrupt(f'Publish {text}?')}"

    made = [{"name": "publish", "args": {"text": "cold"}, "id": "call_1", "type": "tool_call"}]
    inner = agent_graph(model(says("", tool_calls=made), says("Done.")), [publish], name="press")
    outer = StateGraph(State)
    outer.add_node("press office", inner)
    outer.add_edge(START, "press office")
    graph, handler = outer.compile(checkpointer=InMemorySaver(), name="editor"), towerlog.langchain()
    settings = config("approved_inside", handler)
    result = graph.invoke({"messages": [HumanMessage("go")]}, settings)
    answer_soon("approved_inside", "yes")
    result = graph.invoke(handler.answer(result, timeout=60), settings)
    assert [m.content for m in result["messages"]][-2:] == ["published: yes", "Done."]


def handed_over() -> None:
    """A tool of a graph inside another hands over to a node of that one: the library tells it as an error."""

    @tool
    def hand_over(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Lets the other one go on."""
        told = [ToolMessage("handed over", tool_call_id=tool_call_id)]
        return Command(goto="other", graph=Command.PARENT, update={"messages": told})

    made = [{"name": "hand_over", "args": {}, "id": "call_1", "type": "tool_call"}]
    inner = agent_graph(model(says("", tool_calls=made)), [hand_over], name="first")
    outer = StateGraph(State)
    outer.add_node("one", inner, destinations=("other",))
    outer.add_node("other", lambda state: {"messages": [says("Bye.")]})
    outer.add_edge(START, "one")
    graph = outer.compile(name="swarm")
    assert graph.invoke({"messages": [HumanMessage("go")]}, config("handed_over"))["messages"][-1].content == "Bye."


class Repeating(GenericFakeChatModel):
    """A model whose server tells in each piece of a stream what was used so far."""

    def _stream(self, *args: Any, **options: Any) -> Any:
        for written, piece in enumerate(("It ", "is ", "cold."), 1):
            used = {"input_tokens": 100, "output_tokens": written, "total_tokens": 100 + written}
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece, usage_metadata=used))


def repeated_usage() -> None:
    made = Repeating(messages=iter([]))
    assert "".join(piece.content for piece in made.stream("Oslo?", config("repeated_usage"))) == "It is cold."


def cancelled() -> None:
    begun: list[str] = []

    def first(state: Any) -> Any:
        run = towerlog.current_run()
        run.step("mark")
        towerlog.flush(30)
        with towerlog.Client() as client:
            client.cancel_run(run.run_id, reason="never mind")
        while not run.cancelled:
            run.step("mark")
            towerlog.flush(30)
        return {"note": "x"}

    graph = StateGraph(Plan)
    graph.add_node("first", first)
    graph.add_node("second", lambda state: begun.append("second"))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    with contextlib.suppress(towerlog.RunCancelled):
        graph.compile(name="long").invoke({"city": "Oslo"}, config("cancelled"))
        begun.append("an end")
    assert begun == []


def batched() -> None:
    together = threading.Barrier(3)

    def work(text: str) -> str:
        together.wait(60)
        run = towerlog.current_run()
        run.step(f"work on {text}")
        if text == "batched-a":
            towerlog.flush(30)
            with towerlog.Client() as client:
                client.cancel_run(run.run_id, reason="this one alone")
            while not run.cancelled:
                run.step("mark")
                towerlog.flush(30)
        together.wait(60)
        return text

    made = RunnableLambda(work) | RunnableLambda(lambda text: text)
    threads = ["batched-a", "batched-b", "batched-c"]
    found = made.batch(threads, [config(thread) for thread in threads], return_exceptions=True)
    assert [str(one) for one in found[1:]] == threads[1:], found
    assert isinstance(found[0], towerlog.RunCancelled)
    with towerlog.record_run(agent="caller", thread="batched-inside"):
        (RunnableLambda(lambda text: text) | RunnableLambda(str)).batch(["x", "y"], config("batched-inside"))
        assert towerlog.current_run().agent == "caller"
    assert towerlog.current_run() is None


def failed() -> None:
    graph = StateGraph(Plan)
    graph.add_node("break", lambda state: 1 / 0)
    graph.add_edge(START, "break")
    with contextlib.suppress(ZeroDivisionError):
        graph.compile(name="broken").invoke({"city": "Oslo"}, config("failed"))


class Shelf(BaseRetriever):
    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document(f"about {query}")]


def retrieved() -> None:
    made = Shelf() | RunnableLambda(lambda found: found[0].page_content)
    made.invoke("Oslo", config("retrieved"))


def thoughtful() -> None:
    blocks = [{"type": "thinking", "thinking": "Norway: "}, {"type": "text", "text": "Cold."}]
    model(says(blocks)).invoke("Oslo?", config("thoughtful"))


def inside_a_run() -> None:
    with towerlog.record_run(agent="outer", thread="inside_a_run"):
        model(says("Cold.")).invoke("Oslo?", {"callbacks": [towerlog.langchain()]})


REPLY = {
    "id": "reply-1",
    "model": "offline-2",
    "service_tier": "flex",
    "choices": [{"finish_reason": "length", "message": {"role": "assistant", "content": "It is"}}],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 90,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 40},
    },
}


class Unparsed(GenericFakeChatModel):
    """A model whose reply is not what was asked for, as `with_structured_output` finds."""

    def _generate(self, *args: Any, **options: Any) -> Any:
        raise self.metadata["error"]


def unparsed() -> None:
    over_http, as_object = ValueError("no such object"), ValueError("too long")
    over_http.response = httpx.Response(200, json=REPLY)
    as_object.completion = REPLY
    refused = ValueError("no")
    refused.response = httpx.Response(502, text="<html>")
    for error in (over_http, as_object, refused):
        with contextlib.suppress(ValueError):
            made = Unparsed(messages=iter([]), metadata={"error": error})
            made.invoke("Oslo?", config("unparsed"))


def told_by_the_provider() -> None:
    """What stands in the provider's own usage alone."""
    advisor = {"type": "advisor_message", "model": "adviser", "input_tokens": 7, "output_tokens": 5}
    for name, raw in (("token_usage", {"cost": 0.5}), ("usage", {"iterations": [{"type": "message"}, advisor]})):
        answer = AIMessage("Cold.", usage_metadata=USAGE, response_metadata={"model_name": "offline-1", name: raw})
        model(answer).invoke("Oslo?", config("told_by_the_provider"))


def kept_answer() -> None:
    made = GenericFakeChatModel(messages=iter([says("Cold.")]), cache=InMemoryCache())
    for _ in range(2):
        assert made.invoke("Oslo?", config("kept_answer")).content == "Cold."


def broken_adapter() -> None:
    """A defect of ours is logged, and never reaches the program."""
    handler = towerlog.langchain()
    kept = answers_module.message_of
    answers_module.message_of = lambda message: 1 / 0
    try:
        assert model(says("Cold.")).invoke("Oslo?", config("broken_adapter", handler)).content == "Cold."
    finally:
        answers_module.message_of = kept


def main() -> None:
    found = [chain, streamed, tools, subgraph, inherited, asked, asked_async, answered_here, abandoned]
    found += [
        approved_inside,
        handed_over,
        repeated_usage,
        cancelled,
        failed,
        retrieved,
        thoughtful,
        inside_a_run,
        unparsed,
        told_by_the_provider,
        kept_answer,
        broken_adapter,
        batched,
    ]
    only = os.environ.get("ONLY", "").split(",")
    for scenario in found:
        if only == [""] or scenario.__name__ in only:
            scenario()
    assert towerlog.flush(60), json.dumps(str(towerlog.status()))


if __name__ == "__main__":
    main()
