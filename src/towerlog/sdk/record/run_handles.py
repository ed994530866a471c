"""Runs as programs have them: `Run` for sync code and `AsyncRun` for async code, which differ in how they wait.

What they wait for is an answer to a question, or the end of a pause.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from towerlog.sdk.record.commands import NO_ANSWER
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.values.held_answers import MAX_HELD_BYTES, MAX_KEPT


class OpenQuestion:
    """A question that was asked, and whose answer may be waited for later, elsewhere, or not at all."""

    def __init__(
        self,
        run: BaseRun,
        question: object,
        schema: Mapping[str, Any] | None = None,
        place: tuple[str, int] | None = None,
        *,
        holds: bool = False,
    ) -> None:
        """Asks it. Raises RunCancelled. `place`: what a framework calls it, and which of several there it is.

        With `holds` the answer is acknowledged by `take`: a process that ends before that has lost nothing.
        """
        self._run = run
        self._key, self._answer = run.ask_later(question, _terms(schema, None, None, None), place, holds=holds)
        self._schema = schema

    @property
    def key(self) -> str:
        """Its name in the run."""
        return self._key

    @property
    def run(self) -> BaseRun:
        """The run that asks."""
        return self._run

    @property
    def answer(self) -> Future[Any]:
        """Its answer to come, as the server gives it."""
        return self._answer

    def wait(self, timeout: float | None = None) -> Any:
        """The answer. Raises as `Run.ask` does; after a TimeoutError the question is still open."""
        return _value(_waited(self._run, self._answer, timeout), self._schema)

    async def wait_async(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 as `wait` has it
        """As `wait`, awaited."""
        return _value(await _awaited(self._run, self._answer, timeout), self._schema)

    def take(self) -> None:
        """Acknowledges an answer that is held; what has gone on with it must be kept by then."""
        self._run.inbox.settle_answer(self._key, taken=True)

    def withdraw(self, reason: str) -> None:
        """Gives it up, unless it was answered: nobody has to answer it any more. A held answer is told as not taken."""
        self._run.give_up_question(self._key, reason)

    def let_answer_go(self) -> bool:
        """Whether its answer is acknowledged though nothing has gone on with it: there were too many to hold."""
        return self._run.inbox.was_let_go(self._key)


def not_all_answered(questions: Sequence[OpenQuestion]) -> TimeoutError:
    """What is raised to whoever has waited for the answers to these, and did not get all in time."""
    gone = sum(question.let_answer_go() for question in questions)
    if not gone:
        return TimeoutError(NO_ANSWER)
    return TimeoutError(
        f"{NO_ANSWER}; {gone} of the {len(questions)} answers are taken already, since a run keeps at most {MAX_KEPT}, "
        f"and {MAX_HELD_BYTES // 1024} KiB of them: this process has them, another one asks for them again"
    )


class Run(BaseRun):
    """A run of sync code: waiting blocks its thread."""

    def ask(
        self,
        question: object,
        timeout: float | None = None,
        *,
        schema: Mapping[str, Any] | None = None,
        risk: str | None = None,
        expires_in: float | None = None,
        on_expiry: str | None = None,
    ) -> Any:
        """Asks, and waits for the answer to this question. Raises RunCancelled on a cancel, QuestionRefused, and
        TimeoutError after `timeout` seconds: the question is withdrawn then.

        With a JSON Schema the answer fits it, and is the value that its JSON says. `risk`: `low`, `medium`, `high` or
        `critical`. After `expires_in` seconds without an answer the server does what `on_expiry` says: `wait` marks the
        question and waits on; `deny` raises QuestionExpired here; `cancel` cancels the run.

        An answer that the server took before the withdrawal is returned all the same. Where the server does not say
        which was first, TimeoutError comes `SETTLE_S` later, and that answer is told as not taken.
        """
        key, answer = self.ask_later(question, _terms(schema, risk, expires_in, on_expiry))
        try:
            return _value(self._wait(answer, timeout), schema)
        except TimeoutError:
            settle_s = self._withdraw(key, NO_ANSWER)
        except BaseException:
            self.give_up_question(key)
            raise
        try:
            return _value(self._wait(answer, settle_s), schema)
        except BaseException as error:
            if self._inbox.give_up(key) or not isinstance(error, TimeoutError):
                raise
            return _value(answer.result(), schema)

    def pause_point(self, timeout: float | None = None) -> None:
        """A place where the run can be paused; returns at once if no pause was requested. Raises as `ask` does."""
        self._inbox.check()
        if resumed := self._inbox.pause():
            self.tell("run.paused", {})
            self._wait(resumed, timeout)
            self.tell("run.resumed", {})

    def _wait(self, future: Future[Any], timeout: float | None) -> Any:
        try:
            return _waited(self, future, timeout)
        finally:
            self._inbox.forget(future)


class AsyncRun(BaseRun):
    """A run of async code: waiting is awaited."""

    async def ask(
        self,
        question: object,
        timeout: float | None = None,  # noqa: ASYNC109 as Run has it
        *,
        schema: Mapping[str, Any] | None = None,
        risk: str | None = None,
        expires_in: float | None = None,
        on_expiry: str | None = None,
    ) -> Any:
        """As `Run.ask`, awaited."""
        key, answer = self.ask_later(question, _terms(schema, risk, expires_in, on_expiry))
        try:
            return _value(await self._wait(answer, timeout), schema)
        except TimeoutError:
            settle_s = self._withdraw(key, NO_ANSWER)
        except BaseException:
            self.give_up_question(key)
            raise
        try:
            return _value(await self._wait(answer, settle_s), schema)
        except BaseException as error:
            if self._inbox.give_up(key) or not isinstance(error, TimeoutError):
                raise
            return _value(await asyncio.wrap_future(answer), schema)

    async def pause_point(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 as Run has it
        """A place where the run can be paused; returns at once if no pause was requested. Raises as `ask` does."""
        self._inbox.check()
        if resumed := self._inbox.pause():
            self.tell("run.paused", {})
            await self._wait(resumed, timeout)
            self.tell("run.resumed", {})

    async def _wait(self, future: Future[Any], timeout: float | None) -> Any:  # noqa: ASYNC109 as Run has it
        try:
            return await _awaited(self, future, timeout)
        finally:
            self._inbox.forget(future)


def _waited(run: BaseRun, future: Future[Any], timeout: float | None) -> Any:
    run.sink.expect(run, True)
    try:
        return future.result(timeout)
    except FutureTimeout:
        raise TimeoutError(NO_ANSWER) from None
    finally:
        run.sink.expect(run, False)


async def _awaited(run: BaseRun, future: Future[Any], timeout: float | None) -> Any:  # noqa: ASYNC109 as Run has it
    run.sink.expect(run, True)
    # Not `wait_for`: a time-out must not cancel an answer that is being handed over just now.
    waiter = asyncio.wrap_future(future)
    waiter.add_done_callback(_noticed)
    try:
        done, _ = await asyncio.wait({waiter}, timeout=timeout)
        if not done:
            raise TimeoutError(NO_ANSWER)
        return waiter.result()
    finally:
        run.sink.expect(run, False)


def _noticed(waiter: asyncio.Future[Any]) -> None:
    """Reads an exception that comes when nobody waits any more, which asyncio would complain about otherwise."""
    if not waiter.cancelled():
        waiter.exception()


def _terms(
    schema: Mapping[str, Any] | None, risk: str | None, expires_in: float | None, on_expiry: str | None
) -> dict[str, Any]:
    """What is said beside a question."""
    said = {"schema": schema, "risk": risk, "expires_in_seconds": expires_in, "on_expiry": on_expiry}
    return {name: value for name, value in said.items() if value is not None}


def _value(content: Any, schema: Mapping[str, Any] | None) -> Any:
    """An answer as the program gets it. One to a schema that the server could not use may be any text."""
    if schema is None or not isinstance(content, str):
        return content
    try:
        return json.loads(content)
    except ValueError:
        return content
