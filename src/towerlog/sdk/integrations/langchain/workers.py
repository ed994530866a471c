"""Compiled graphs of LangGraph, and chains of LangChain, as agents of a worker.

The input goes into the graph's state: a mapping as it is, anything else as a message of the user, after the messages
that the thread's earlier runs have left. An interrupt is a question of the run. A graph without a checkpointer of its
own gets one that keeps its state in the run's checkpoints, so that a lost run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from towerlog.sdk.integrations.answer_pages import answers_to_async
from towerlog.sdk.integrations.langchain.handler import langchain
from towerlog.sdk.integrations.langchain.interrupts import (
    KEY,
    command,
    id_of,
    interrupts_in,
    resumed_with,
    wordings_of,
)
from towerlog.sdk.integrations.langchain.messages import message_of, result_of
from towerlog.sdk.integrations.langchain.saver import saver_class
from towerlog.sdk.record.run_handles import AsyncRun, OpenQuestion


def adapt(agent: Any) -> Callable[[AsyncRun], Awaitable[Any]]:
    """A graph or a chain as a callable that carries out a run."""
    return _of_graph(agent) if hasattr(agent, "channels") else _of_chain(agent)


def _of_chain(chain: Any) -> Callable[[AsyncRun], Awaitable[Any]]:
    async def carry_out(run: AsyncRun) -> Any:
        return result_of(await chain.ainvoke(run.input, {"callbacks": [langchain(run=run)]}))

    return carry_out


def _of_graph(graph: Any) -> Callable[[AsyncRun], Awaitable[Any]]:
    async def carry_out(run: AsyncRun) -> Any:
        saver = None if graph.checkpointer else saver_class()(run)
        served = graph if saver is None else graph.copy({"checkpointer": saver})
        thread = run.run_id if saver is not None else run.thread
        config = {"callbacks": [langchain(run=run)], "configurable": {"thread_id": thread}}
        given: Any = None
        asked: list[OpenQuestion] = []
        if saver is None or saver.is_empty:
            given = input_of(run, graph)
        elif found := await _open_interrupts(served, config):
            given, asked = await _answers(run, found)
        while True:
            await run.pause_point()
            if saver is not None:
                saver.uses(asked)
            result = await served.ainvoke(given, config)
            for question in asked:
                question.take()
            found = list(interrupts_in(result.get(KEY))) if isinstance(result, Mapping) else []
            if not found:
                _leave_history(run, result)
                return result_of(result)
            given, asked = await _answers(run, found)

    return carry_out


def input_of(run: AsyncRun, graph: Any) -> Any:
    """What the graph begins with."""
    if isinstance(run.input, Mapping) or "messages" not in graph.channels:
        return run.input
    text = run.input if isinstance(run.input, str) else "" if run.input is None else str(run.input)
    said = [{"role": "user", "content": text}] if text else []
    return {"messages": [*run.history, *said]}


async def _open_interrupts(graph: Any, config: Any) -> list[Any]:
    """What a graph waited for when its run was lost."""
    state = await graph.aget_state(config)
    return [one for task in state.tasks for one in task.interrupts]


async def _answers(run: AsyncRun, interrupts: list[Any]) -> tuple[Any, list[OpenQuestion]]:
    """Asks people, all at once; the `Command` with their answers, and the questions, whose answers are to be taken once
    the graph has gone on: if the worker is lost before that, the next attempt gets the same ones."""
    asked = [[OpenQuestion(run, text, holds=True) for text in wordings_of(one.value)] for one in interrupts]
    questions = [question for some in asked for question in some]
    try:
        # Their keys are counted: the next attempt has to ask all of them again, in this order.
        [(_, given)] = await answers_to_async([questions], None)
    except BaseException:
        for question in questions:
            question.withdraw("its agent stopped waiting")
        raise
    said = iter(given)
    answers = [[next(said) for _ in some] for some in asked]
    resumed = zip(interrupts, answers, strict=True)
    return command({id_of(one): resumed_with(one.value, some) for one, some in resumed}), questions


def _leave_history(run: AsyncRun, result: object) -> None:
    """The conversation for the thread's next run."""
    messages = result.get("messages") if isinstance(result, Mapping) else None
    if isinstance(messages, list):
        run.checkpoint([message_of(one) for one in messages])
