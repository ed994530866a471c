"""The tree of callback runs of LangChain, each with the place in a Towerlog run that it reports to.

LangChain calls everything a run: chains, nodes, models, tools. Here the outermost one is a run, and so is each graph
inside a node of another; nodes are steps. What is neither is left out: what is inside it belongs to what is around it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from towerlog.sdk.integrations.langchain.messages import plain
from towerlog.sdk.integrations.langchain.stream_usage import StreamUsage
from towerlog.sdk.integrations.new_messages import ToldMessages
from towerlog.sdk.record.current import Active
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion
from towerlog.sdk.record.spans.model_calls import ModelCall
from towerlog.sdk.record.spans.steps import Step
from towerlog.sdk.record.spans.tool_calls import ToolCall
from towerlog.sdk.record.values.encoding import name_text

MAX_OPEN = 10_000
"""Callback runs that are remembered while they are open: a program may lose the end of one."""
MAX_WAITING = 1_000
"""Runs that wait for an answer, until their thread goes on."""
HIDDEN = "langsmith:hidden"
"""The library's tag of what nobody wants to see."""
GRAPH_STEP = "graph:step:"
"""How the tag begins by which a node of a graph is known."""
UNNAMED_GRAPH = "LangGraph"


@dataclass
class Place:
    """One callback run, and where it stands."""

    owner: object
    """The handler that was told of it first: what the others are told is the same again."""
    name: str
    run: BaseRun
    messages: ToldMessages
    up: Place | None = None
    inputs: object = None
    span_id: str | None = None
    """Of the innermost step or call around what is inside it."""
    is_run: bool = False
    """Whether its end is the end of the run."""
    told: Step | ToolCall | ModelCall | None = None
    said: bool = False
    """Of a model call: whether a piece of its text was told."""
    usage: StreamUsage = field(default_factory=StreamUsage)
    """Of a model call: what its pieces have told."""
    thread: str | None = None
    entered: Active | None = None
    """Of the outermost: what makes its run the current one."""
    interrupts: dict[str, Any] = field(default_factory=dict)
    """Of the outermost: what is waited for inside it, by id."""
    ordinals: dict[str, int] = field(default_factory=dict)
    """Of the outermost: which of its node's interrupts each of them is, from 0."""
    before: Waiting | None = None
    """Of the outermost: what its run has waited for until now."""
    suspended: dict[str, BaseRun] = field(default_factory=dict)
    """Of the outermost: the runs of graphs inside it that wait with it, by their agents."""

    def outermost(self) -> Place:
        """The callback run that all of this is inside of."""
        place = self
        while place.up is not None:
            place = place.up
        return place


@dataclass(eq=False)
class Waiting:
    """A run whose graph was interrupted, and will go on in the same thread."""

    run: BaseRun
    questions: dict[str, tuple[list[OpenQuestion], Any]]
    """Id of an interrupt → its questions, and its value."""
    suspended: dict[str, BaseRun]
    """Runs of graphs inside it that wait with it, by their agents."""
    handed_over: frozenset[str] = frozenset()
    """Ids of the interrupts whose answers the program has been given, to go on with."""
    is_taken_up: bool = False
    """Whether another process has begun the run: answers may wait there to what is not asked here."""

    def groups(self) -> list[list[OpenQuestion]]:
        """The questions of each interrupt."""
        return [questions for questions, _ in self.questions.values()]


class Tree:
    """The open callback runs of a recorder. All its handlers share it, so that none is told twice."""

    def __init__(self) -> None:
        """Without any."""
        self._lock = threading.Lock()
        self._places: dict[UUID, Place] = {}
        self.waiting: dict[str, Waiting] = {}
        """Thread → the run that waits in it."""

    def find(self, run_id: UUID | None, owner: object) -> Place | None:
        """An open callback run, for the handler that was told of it first."""
        place = None if run_id is None else self._places.get(run_id)
        return place if place is not None and place.owner is owner else None

    def above(self, run_id: UUID | None) -> Place | None:
        """The callback run around one that begins, whoever was told of it."""
        return None if run_id is None else self._places.get(run_id)

    def add(self, run_id: UUID, place: Place) -> bool:
        """Adds one that begins; False where another handler has told of it."""
        with self._lock:
            if run_id in self._places:
                return False
            self._places[run_id] = place
            while len(self._places) > MAX_OPEN:
                del self._places[next(iter(self._places))]
            return True

    def knows(self, run_id: UUID) -> bool:
        """Whether it is open."""
        return run_id in self._places

    def take(self, run_id: UUID, owner: object) -> Place | None:
        """Takes one out that ends."""
        with self._lock:
            place = self._places.get(run_id)
            if place is None or place.owner is not owner:
                return None
            del self._places[run_id]
        if place.entered is not None:
            place.entered.leave()
        return place

    def wait(self, thread: str, waiting: Waiting) -> None:
        """Remembers a run until its thread goes on."""
        with self._lock:
            self.waiting[thread] = waiting
            while len(self.waiting) > MAX_WAITING:
                del self.waiting[next(iter(self.waiting))]

    def goes_on(self, thread: str | None) -> Waiting | None:
        """The run that has waited in a thread, once."""
        with self._lock:
            return None if thread is None else self.waiting.pop(thread, None)


class Trees:
    """The tree of each recorder."""

    def __init__(self) -> None:
        """Without any."""
        self._lock = threading.Lock()
        self._of: weakref.WeakKeyDictionary[Recorder, Tree] = weakref.WeakKeyDictionary()

    def of(self, recorder: Recorder) -> Tree:
        """The tree of a recorder."""
        with self._lock:
            return self._of.setdefault(recorder, Tree())


TREES = Trees()


class ActivePlace(Active):
    """What makes the run of an outermost call the current one.

    Several may begin in one context before any of them goes on, each in a thread with a copy of that context: inside of
    a call its own run is the current one, whichever began last.
    """

    __slots__ = ("_tree",)

    def __init__(self, run: BaseRun, tree: Tree) -> None:
        """Makes it the current one of this context."""
        self._tree = tree
        super().__init__(run)

    def now(self) -> BaseRun | None:
        """The run of the call that the calling code is inside of, else its own."""
        place = self._tree.above(around())
        if place is None:
            return super().now()
        return None if place.run.ended else place.run


def around() -> UUID | None:
    """The callback run that the calling code is inside of: a call with callbacks of its own does not tell."""
    from langchain_core.runnables.config import var_child_runnable_config

    found: UUID | None = getattr((var_child_runnable_config.get() or {}).get("callbacks"), "parent_run_id", None)
    return found


def is_node(tags: Sequence[str] | None) -> bool:
    """Whether a callback run is a node of a graph."""
    return any(tag.startswith(GRAPH_STEP) for tag in tags or ())


def thread_in(metadata: Mapping[str, Any] | None) -> str | None:
    """The conversation that a program has named in its configuration."""
    said = metadata or {}
    found = next((said[name] for name in ("thread_id", "session_id", "conversation_id") if said.get(name)), None)
    return None if found is None else str(found)


def become_run(place: Place, recorder: Recorder) -> None:
    """A graph inside a node of another one is a run of its own, the other's child; the same one where it has waited."""
    outer = place.run
    agent = name_text(place.name if place.name != UNNAMED_GRAPH or place.up is None else place.up.name)
    run = place.outermost().suspended.pop(agent, None)
    if run is None:
        given = plain(place.inputs) if outer.captures_content else None
        run = recorder.start_run(agent, input=given, parent=outer)
    place.run, place.is_run, place.span_id, place.messages = run, True, None, ToldMessages(plain)
