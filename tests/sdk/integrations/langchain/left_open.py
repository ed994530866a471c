"""A program whose graph asks a person, and keeps its state in a file: `FILE THREAD [fanN-]HOW`.

It ends without waiting for the answer (`ask`), goes on and takes it (`go`), or brings one of its own (`own`). Or it is
killed: with the answers in hand (`unused`), in the node that has got them (`inside`), or when the graph's state has
what they have led to, before anybody is told (`kept`). `fan2-`: two nodes ask at once.
"""

from __future__ import annotations

import operator
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt

import towerlog
from towerlog.sdk.integrations.langchain.interrupts import Interrupts


class Plan(TypedDict, total=False):
    first: str
    second: str


class Part(TypedDict, total=False):
    said: Annotated[list[str], operator.add]
    number: int


def killed() -> None:
    """Ends as a process does that is killed, once what it had told is on its way."""
    towerlog.flush(60)
    os._exit(0)


def in_turn(got: Callable[[], None]) -> Any:
    """Asks twice in one node, in the same words."""

    def both(state: Plan) -> Plan:
        first = interrupt("Publish?")
        got()
        return {"first": first, "second": interrupt("Publish?")}

    graph = StateGraph(Plan)
    graph.add_node("both", both)
    graph.add_edge(START, "both")
    return graph


def at_once(got: Callable[[], None], count: int) -> Any:
    """Asks so many things at a time."""

    def one(state: Part) -> Part:
        said = interrupt(f"Publish {state['number']}?")
        got()
        return {"said": [f"{state['number']} {said}"]}

    graph = StateGraph(Part)
    graph.add_node("one", one)
    sends = [Send("one", {"number": number}) for number in range(1, count + 1)]
    graph.add_conditional_edges(START, lambda state: sends, ["one"])
    return graph


def load(saver: Any, file: Path) -> None:
    storage, writes, blobs = pickle.loads(file.read_bytes())
    for thread, spaces in storage.items():
        for space, states in spaces.items():
            saver.storage[thread][space].update(states)
    for place, written in writes.items():
        saver.writes[place].update(written)
    saver.blobs.update(blobs)


def save(saver: Any, file: Path) -> None:
    storage = {thread: {space: dict(one) for space, one in spaces.items()} for thread, spaces in saver.storage.items()}
    file.write_bytes(pickle.dumps((storage, {key: dict(one) for key, one in saver.writes.items()}, dict(saver.blobs))))


def main(file: Path, thread: str, how: str) -> None:
    saver, (fan, _, how) = InMemorySaver(), how.removeprefix("fan").rpartition("-")
    if how != "ask":
        load(saver, file)
    got = killed if how == "inside" else lambda: None
    graph = at_once(got, int(fan)) if fan else in_turn(got)
    app, handler = graph.compile(checkpointer=saver, name="publisher"), towerlog.langchain()
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": thread}}
    begin: Any = {"ask": {"said": []} if fan else {"first": "?"}, "own": Command(resume="mine")}
    result = app.invoke(begin.get(how), config)
    while "__interrupt__" in result and how != "ask":
        try:
            answers = handler.answer(result, timeout=0.1 if how == "own" else 5)
        except TimeoutError:
            break
        if how == "unused":
            killed()
        if how == "kept":
            Interrupts.went_on = lambda _, place: place.before and (save(saver, file), killed())  # type: ignore[assignment,method-assign,return-value]
        result = app.invoke(answers, config)
    assert towerlog.flush(60)
    save(saver, file)
    sys.stdout.write(" ".join(result["said"]) if fan else f"{result.get('first')} {result.get('second')}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
