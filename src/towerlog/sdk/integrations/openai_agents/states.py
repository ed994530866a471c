"""States of the runner that are written down and read again, here or in another process: they lead to their run."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from towerlog.sdk.integrations.guard import Guard, guarded
from towerlog.sdk.integrations.openai_agents.approvals import (
    DECIDED,
    LINK,
    MAX_SETTLED,
    WENT_ON,
    LinkedApprovals,
    RunnerApprovals,
    keys_in,
    linked_to,
)
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion

MEMBER = "towerlog"
"""Of a state as JSON: the run that waits, and its questions."""
MAX_WAITING = 1_000
"""Runs of this process that wait and are remembered."""
MAX_QUESTIONS = 1_000
DRAIN_S = 1.0
"""For so long a run that goes on waits until the server has told which answers there are to what is decided."""


class WrittenApprovals:
    """What a run waits for that was begun in another process, as a state tells of it."""

    def __init__(self, recorder: Callable[[], Recorder], told: Mapping[str, Any]) -> None:
        """`told`: what `RunnerApprovals.told` has written."""
        self._recorder = recorder
        self._told = told
        self._asked = [str(key) for key in list(told.get("questions") or ())[:MAX_QUESTIONS]]
        self._settled = [str(key) for key in list(told.get("settled") or ())[-MAX_SETTLED:]]
        self._run: BaseRun | None = None
        self.kept: dict[str, OpenQuestion | None] = {}
        inner = told.get("inner")
        self.inner: Mapping[str, LinkedApprovals] = {
            str(call_id): WrittenApprovals(recorder, one)
            for call_id, one in [*(inner.items() if isinstance(inner, Mapping) else ())][:MAX_QUESTIONS]
            if isinstance(one, Mapping) and isinstance(one.get("run_key"), str)
        }

    def told(self) -> dict[str, Any]:
        """The same again, for a state that is written once more."""
        return dict(self._told)

    @property
    def settled(self) -> Sequence[str]:
        """See `LinkedApprovals`."""
        return [*self._settled, *(key for key in self._asked if key not in self.kept)][-MAX_SETTLED:]

    def goes_on(self, state: Any) -> BaseRun:
        """The run, told of by this process from now on. What the state has no decision on is asked again, and an answer
        that was given meanwhile is the answer to that. Nobody has to answer the other questions any more."""
        told, recorder = self._told, self._recorder()
        again = keys_in(state, self._asked, self._settled)
        self.kept = {key: None for key in self._asked if key in again}
        run = self._begun()
        if not told.get("answered"):
            _withdraw(run, [key for key in self._asked if key not in self.kept], DECIDED)
        if not self.kept:
            self._settle_answers(run)
            recorder.drain(DRAIN_S)  # before anything else is asked, and before the run may have ended again
        return run

    def leave(self, but: Container[str] = ()) -> None:
        """See `LinkedApprovals`."""
        if self._run is not None and self.kept:
            _withdraw(self._run, [key for key in self.kept if key not in but], WENT_ON)
            self._settle_answers(self._run)

    def end(self, error: BaseException) -> None:
        """See `LinkedApprovals`."""
        for one in self.inner.values():
            one.end(error)
        self._begun().end_with(error)

    def _begun(self) -> BaseRun:
        """The run, told of here from now on."""
        if self._run is None:
            agent, thread = self._told.get("agent"), self._told.get("thread")
            self._run = self._recorder().start_run(agent, thread, run_key=str(self._told["run_key"]))
        return self._run

    def _settle_answers(self, run: BaseRun) -> None:
        """Answers that the state has are told as taken, such as nobody here can get as not taken."""
        if self._told.get("answered"):
            run.take_left_answers()
        else:
            run.leave_questions((), "")


def _withdraw(run: BaseRun, keys: Sequence[str], reason: str) -> None:
    for key in keys:
        run.tell("run.question_withdrawn", {"question_key": key, "reason": reason})


class States:
    """The runs that wait, by their keys; and what a state says of its own."""

    def __init__(self, recorder: Callable[[], Recorder]) -> None:
        """`recorder`: for runs of other processes."""
        self.guard = Guard("the adapter of the OpenAI Agents SDK")
        self._recorder = recorder
        self._lock = threading.Lock()
        self._waiting: dict[str, RunnerApprovals] = {}

    def waits(self, approvals: RunnerApprovals) -> None:
        """Remembers a run that waits."""
        with self._lock:
            self._waiting[approvals.run_key] = approvals
            while len(self._waiting) > MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]

    def install(self) -> None:
        """States tell their run where they are written, and know it where they are read."""
        from agents.run_state import RunState

        written, read = RunState.to_json, RunState.from_json

        @functools.wraps(written)
        def to_json(state: Any, *args: Any, **options: Any) -> dict[str, Any]:
            told: dict[str, Any] = written(state, *args, **options)
            self._write(state, told)
            return told

        @functools.wraps(read)
        async def from_json(*args: Any, **options: Any) -> Any:
            state = await read(*args, **options)
            self._read(state, options.get("state_json", args[1] if len(args) > 1 else None))
            return state

        RunState.to_json = to_json
        RunState.from_json = staticmethod(from_json)

    @guarded
    def _write(self, state: Any, told: dict[str, Any]) -> None:
        waiting = linked_to(state)
        if waiting is not None:
            told[MEMBER] = waiting.told()

    @guarded
    def _read(self, state: Any, told: Any) -> None:
        link = told.get(MEMBER) if isinstance(told, Mapping) else None
        if not isinstance(link, Mapping) or not isinstance(link.get("run_key"), str):
            return
        with self._lock:
            here = self._waiting.pop(link["run_key"], None)
        if here is not None and here.is_over:
            return
        with contextlib.suppress(AttributeError):
            setattr(state, LINK, here or WrittenApprovals(self._recorder, link))
