"""Tool calls of the OpenAI Agents SDK that need approval, as questions of their run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from typing import Any, Protocol

from towerlog.sdk.integrations import approvals
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion, not_all_answered

LINK = "_towerlog_approvals"
"""Attribute of a result, and of the state that is made of it, that leads to the run that waits."""


class RunnerApprovals:
    """What a run waits for."""

    def __init__(self, run: BaseRun, interruptions: list[Any]) -> None:
        """Asks. Raises RunCancelled."""
        self._run = run
        self._asked = [(item, OpenQuestion(run, question_of(item), holds=True)) for item in interruptions]
        self._is_decided = False

    @property
    def run_key(self) -> str:
        """Of the run."""
        return self._run.run_key or ""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, as where it was cancelled or went on already."""
        return self._run.ended

    def told(self) -> dict[str, Any]:
        """Which run waits, by which another process finds it."""
        questions = [question.key for _, question in self._asked]
        named = {"agent": self._run.agent, "thread": self._run.thread}
        return {"run_key": self.run_key, "questions": questions, **{k: v for k, v in named.items() if v is not None}}

    def link(self, result: Any) -> None:
        """The run goes on with whatever is made of this result."""
        setattr(result, LINK, self)
        result.to_state = functools.partial(self._state, result.to_state)

    def goes_on(self) -> BaseRun:
        """The run, which goes on: with all answers, or the program has decided. An answer that it did not get is told
        as not taken."""
        for _, question in self._asked:
            if self._is_decided:
                question.take()
            else:
                question.withdraw("the program has decided")
        return self._run

    def answered(self, result: Any, timeout: float | None) -> Any:
        """The state with the answers of people."""
        ends_at = None if timeout is None else time.monotonic() + timeout
        left = (None if ends_at is None else max(0.0, ends_at - time.monotonic()) for _ in self._asked)
        try:
            answers = [question.wait(seconds) for (_, question), seconds in zip(self._asked, left, strict=True)]
        except TimeoutError:
            raise self._timed_out() from None
        return self._decided(result, answers)

    async def answered_async(self, result: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 as `answered` has it
        """As `answered`."""
        try:
            answers = await asyncio.gather(*(one.wait_async(timeout) for _, one in self._asked))
        except TimeoutError:
            raise self._timed_out() from None
        return self._decided(result, answers)

    def _timed_out(self) -> TimeoutError:
        return not_all_answered([question for _, question in self._asked])

    def _state(self, to_state: Any, *args: Any, **options: Any) -> Any:
        state = to_state(*args, **options)
        with contextlib.suppress(AttributeError):
            setattr(state, LINK, self)
        return state

    def _decided(self, result: Any, answers: list[Any]) -> Any:
        state = result.to_state()
        for (item, _), answer in zip(self._asked, answers, strict=True):
            if approvals.approves(answer):
                state.approve(item)
                continue
            try:
                state.reject(item, rejection_message=approvals.reason_of(answer))
            except TypeError:
                # Earlier versions give the model a text of their own.
                state.reject(item)
        self._is_decided = True
        return state


class LinkedApprovals(Protocol):
    """What a run waits for, here or in another process."""

    def told(self) -> dict[str, Any]:
        """Which run that is, as JSON."""

    def goes_on(self) -> BaseRun:
        """The run, which goes on."""


def linked_to(value: Any) -> LinkedApprovals | None:
    """What a result or a state waits for."""
    found: LinkedApprovals | None = getattr(value, LINK, None)
    return found


def question_of(item: Any) -> str:
    """What a person is asked about a call."""
    raw = getattr(item, "raw_item", None)
    name = getattr(item, "name", None) or getattr(raw, "name", None) or "a tool"
    arguments: Any = getattr(item, "arguments", None) or getattr(raw, "arguments", None) or "{}"
    with contextlib.suppress(TypeError, ValueError):
        arguments = json.loads(arguments)
    return approvals.question_of(str(name), arguments)


def answer(result: Any, timeout: float | None = None) -> Any:
    """Waits for people to decide on the calls of a result; the state with which the runner goes on.

    Raises RunCancelled, TimeoutError after `timeout` seconds (the questions stay open), and ValueError for a result
    that waits for nobody.
    """
    return _waiting(result).answered(result, timeout)


async def aanswer(result: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 as `answer` has it
    """As `answer`, awaited."""
    return await _waiting(result).answered_async(result, timeout)


def _waiting(result: Any) -> RunnerApprovals:
    found = linked_to(result)
    if not isinstance(found, RunnerApprovals):
        raise ValueError("this result waits for nobody")
    return found
