"""A checkpointer of LangGraph that keeps the state of a graph in the checkpoints of its run.

It remembers the newest state of each graph, so that a lost run goes on where it was; it is no store of what was before.
The class of the library's checkpointers is made when it is asked for.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from towerlog.sdk.integrations.guard import Guard
from towerlog.sdk.integrations.langchain.messages import is_message, message_of
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion

STATE = "langgraph"
"""Member of a checkpoint's state that has what this module writes."""
INTERRUPT = "__interrupt__"
"""The channel by which a task says that it waits."""
MAX_GRAPHS = 1_000
"""Graphs of one run, by their namespaces, whose states are kept."""

Typed = tuple[str, bytes]


class Live(NamedTuple):
    """A value that cannot be made into bytes: it is there as long as this process."""

    value: Any


@functools.cache
def saver_class() -> Any:
    """The class of the checkpointers, which is one of the library's."""
    from langgraph.checkpoint.base import BaseCheckpointSaver

    return type("TowerlogSaver", (RunStates, BaseCheckpointSaver), {"__doc__": "Keeps states in a run."})


class RunStates:
    """The states of the graphs of one run, as the library asks for them."""

    serde: Any
    """How the library makes bytes of values."""

    def __init__(self, run: BaseRun) -> None:
        """With the states that the run's last checkpoint has, if it was lost."""
        super().__init__()
        self._run = run
        self._guard = Guard("the checkpointer of LangGraph")
        self._states: dict[str, dict[str, Any]] = {}
        """Namespace → `config`, `checkpoint`, `metadata`, `parent`, `writes`."""
        self._used: list[OpenQuestion] = []
        if run.resume is not None:
            self._load((run.resume.get("state") or {}).get(STATE) or {})

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to go on from."""
        return not self._states

    def get_tuple(self, config: Any) -> Any:
        """The newest state of a graph; None for a graph that has none, and for an older state."""
        from langgraph.checkpoint.base import CheckpointTuple

        place = config["configurable"]
        state = self._states.get(place.get("checkpoint_ns", ""))
        wanted = place.get("checkpoint_id")
        if state is None or (wanted is not None and wanted != state["config"]["configurable"]["checkpoint_id"]):
            return None
        return CheckpointTuple(
            config=state["config"],
            checkpoint=self._loaded(state["checkpoint"]),
            metadata=self._loaded(state["metadata"]),
            parent_config=state["parent"],
            pending_writes=[(task, channel, self._loaded(value)) for task, channel, value, _ in state["writes"]],
        )

    def list(self, config: Any, **_: Any) -> Iterator[Any]:
        """The newest state alone."""
        found = None if config is None else self.get_tuple(config)
        if found is not None:
            yield found

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        """Keeps a state, and reports it as a checkpoint of the run."""
        place = config["configurable"]
        namespace = place.get("checkpoint_ns", "")
        here = {"thread_id": place["thread_id"], "checkpoint_ns": namespace, "checkpoint_id": checkpoint["id"]}
        before = place.get("checkpoint_id")
        self._states.pop(namespace, None)
        self._states[namespace] = {
            "config": {"configurable": here},
            "checkpoint": self._dumped(checkpoint),
            "metadata": self._dumped(metadata),
            "parent": {"configurable": {**here, "checkpoint_id": before}} if before else None,
            "writes": [],
        }
        while len(self._states) > MAX_GRAPHS:
            del self._states[next(iter(self._states))]
        if self._report(checkpoint if not namespace else None) and not namespace:
            used, self._used = self._used, []
            for question in used:
                question.take()
        return {"configurable": here}

    def uses(self, asked: Sequence[OpenQuestion]) -> None:
        """The outermost graph goes on with these answers: they are taken with its next state that is reported."""
        self._used = [*asked]

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Keeps what a task of the next state has come to."""
        state = self._states.get(config["configurable"].get("checkpoint_ns", ""))
        if state is None:
            return
        channels = {channel for channel, _ in writes}
        state["writes"] = [one for one in state["writes"] if not (one[0] == task_id and one[1] in channels)]
        state["writes"] += [(task_id, channel, self._dumped(value), task_path) for channel, value in writes]
        if INTERRUPT in channels:
            self._report(None)

    async def aget_tuple(self, config: Any) -> Any:
        """As `get_tuple`."""
        return self.get_tuple(config)

    async def alist(self, config: Any, **more: Any) -> AsyncIterator[Any]:
        """As `list`."""
        for found in self.list(config, **more):
            yield found

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        """As `put`."""
        return self.put(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `put_writes`."""
        self.put_writes(config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Forgets all."""
        self._states.clear()

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`."""
        self.delete_thread(thread_id)

    def _report(self, checkpoint: Mapping[str, Any] | None) -> bool:
        """The states as a checkpoint of the run, whose history is the conversation of the outermost graph.

        Not reported, and False, where a part of them would be missing: the one before it stays, and a lost run goes on
        from there.
        """
        if checkpoint is not None:
            messages = checkpoint.get("channel_values", {}).get("messages")
            self._history = (
                [message_of(one) for one in messages if is_message(one)] if isinstance(messages, list) else []
            )
        if any(map(_is_live, self._states.values())):
            return False
        states = {name: _packed(state) for name, state in self._states.items()}
        self._run.checkpoint(self._history, state={STATE: states})
        return True

    _history: Sequence[Any] = ()

    def _dumped(self, value: Any) -> Typed | Live:
        """A value as bytes; one of which the library cannot make any stays as it is, and its state is not reported."""
        try:
            found: Typed = self.serde.dumps_typed(value)
        except Exception as error:
            self._guard.failed("a state that cannot be made into bytes", error)
            return Live(value)
        return found

    def _loaded(self, kept: Typed | Live) -> Any:
        return kept.value if isinstance(kept, Live) else self.serde.loads_typed(kept)

    def _load(self, states: Mapping[str, Any]) -> None:
        self._states = {name: _unpacked(state) for name, state in states.items()}


def _is_live(state: Mapping[str, Any]) -> bool:
    """Whether something of a state is there in this process alone."""
    kept = (state["checkpoint"], state["metadata"], *(value for _, _, value, _ in state["writes"]))
    return any(isinstance(one, Live) for one in kept)


def _packed(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as JSON values."""
    writes = [(task, channel, _text(value), path) for task, channel, value, path in state["writes"]]
    return {**state, "checkpoint": _text(state["checkpoint"]), "metadata": _text(state["metadata"]), "writes": writes}


def _unpacked(state: Mapping[str, Any]) -> dict[str, Any]:
    writes = [(task, channel, _typed(value), path) for task, channel, value, path in state["writes"]]
    return {**state, "checkpoint": _typed(state["checkpoint"]), "metadata": _typed(state["metadata"]), "writes": writes}


def _text(value: Typed) -> list[str]:
    return [value[0], base64.b64encode(value[1]).decode()]


def _typed(value: Sequence[str]) -> Typed:
    return value[0], base64.b64decode(value[1])
