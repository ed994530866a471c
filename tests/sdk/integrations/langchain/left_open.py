"""A program whose graph asks a person, and keeps its state in a file: `FILE THREAD ask|go|own`.

It ends without waiting for the answer (`ask`), goes on and takes it (`go`), or brings one of its own (`own`).
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

import towerlog


class Plan(TypedDict, total=False):
    first: str
    second: str


def both(state: Plan) -> Plan:
    """Asks twice in one node, in the same words."""
    return {"first": interrupt("Publish?"), "second": interrupt("Publish?")}


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
    saver = InMemorySaver()
    if how != "ask":
        load(saver, file)
    graph = StateGraph(Plan)
    graph.add_node("both", both)
    graph.add_edge(START, "both")
    app, handler = graph.compile(checkpointer=saver, name="publisher"), towerlog.langchain()
    config: Any = {"callbacks": [handler], "configurable": {"thread_id": thread}}
    begin: Any = {"ask": {"first": "?"}, "go": None, "own": Command(resume="mine")}
    result = app.invoke(begin[how], config)
    while "__interrupt__" in result and how != "ask":
        try:
            result = app.invoke(handler.answer(result, timeout=5 if how == "go" else 0.1), config)
        except TimeoutError:
            break
    assert towerlog.flush(60)
    save(saver, file)
    sys.stdout.write(f"{result.get('first')} {result.get('second')}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
