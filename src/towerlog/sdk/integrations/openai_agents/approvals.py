"""Tool calls of the OpenAI Agents SDK that need approval, as questions of their run."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

from towerlog.sdk.integrations import approvals
from towerlog.sdk.integrations.answer_pages import answers_to, answers_to_async, page_of
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion
from towerlog.sdk.record.values.question_keys import key_at

LINK = "_towerlog_approvals"
"""Attribute of a result, and of the state that is made of it, that leads to the run that waits."""
MAX_SETTLED = 1_000
"""Keys of questions of a run that are remembered when those are over, so that no later one gets such a key."""
DECIDED = "the program has decided"
WENT_ON = "the run went on without it"


class LinkedApprovals(Protocol):
    """What a run waits for, here or in another process."""

    @property
    def settled(self) -> Sequence[str]:
        """Keys of questions that are over, at most MAX_SETTLED, the newest."""

    @property
    def kept(self) -> Mapping[str, OpenQuestion | None]:
        """Once the run goes on: what is asked still, by keys; None for a question that this process has not asked."""

    def told(self) -> dict[str, Any]:
        """Which run that is, as JSON."""

    def goes_on(self, state: Any) -> BaseRun:
        """The run, which goes on with a state."""

    def leave(self, but: Container[str] = ()) -> None:
        """What was kept is over, except for these keys, which are asked again."""

    @property
    def inner(self) -> Mapping[str, LinkedApprovals]:
        """Id of a call of an agent as a tool → the run inside it, which waits until this one goes on."""

    def end(self, error: BaseException) -> None:
        """Nobody goes on with the run, nor with those inside it."""


class RunnerApprovals:
    """What a run waits for."""

    def __init__(
        self,
        run: BaseRun,
        interruptions: list[Any],
        before: LinkedApprovals | None = None,
        inner: Mapping[str, LinkedApprovals] | None = None,
    ) -> None:
        """Asks, and goes on to ask what was asked `before` about the same calls. Raises RunCancelled.

        Without interruptions it only waits: a run around it asks.
        """
        self._run = run
        self.inner = {} if inner is None else dict(inner)
        self._settled = [] if before is None else [*before.settled]
        self.kept: dict[str, OpenQuestion | None] = {}
        kept = {} if before is None else before.kept
        places = [*zip(interruptions, places_of(interruptions, kept, self._settled), strict=True)]
        places.sort(key=lambda one: one[1][1] not in kept)  # what is asked already is asked on
        self._asked = []
        for item, (place, key) in places[: page_of([1] * len(places))]:
            question = kept.get(key) or OpenQuestion(run, question_of(item), None, place, holds=True)
            self._asked.append((item, question))
        self._settled += [key for key in kept if key not in self._keys()]
        self._decided: set[str] = set()

    @property
    def run_key(self) -> str:
        """Key of the run; empty without one."""
        return self._run.run_key or ""

    @property
    def asks(self) -> bool:
        """Whether it asks people itself: a run around it does so otherwise."""
        return bool(self._asked)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, as where it was cancelled or went on already."""
        return self._run.ended

    def told(self) -> dict[str, Any]:
        """Which run waits, by which another process finds it."""
        known = {"agent": self._run.agent, "thread": self._run.thread, "answered": bool(self._decided) or None}
        return {
            "run_key": self.run_key,
            "questions": self._keys(),
            "settled": [*self._settled],
            **({"inner": {call_id: one.told() for call_id, one in self.inner.items()}} if self.inner else {}),
            **{name: value for name, value in known.items() if value is not None},
        }

    @property
    def settled(self) -> Sequence[str]:
        """See `LinkedApprovals`."""
        return [*self._settled, *(key for key in self._keys() if key not in self.kept)][-MAX_SETTLED:]

    def link(self, result: Any) -> None:
        """The run goes on with whatever is made of this result."""
        setattr(result, LINK, self)
        result.to_state = functools.partial(self._state, result.to_state)

    def goes_on(self, state: Any) -> BaseRun:
        """The run, which goes on: with all answers, or with what the program has decided: an answer that it did not get
        is told as not taken then. Where it has not decided, the question stays."""
        again = keys_in(state, self._keys(), self._settled) - self._decided
        self.kept = {question.key: question for _, question in self._asked if question.key in again}
        for _, question in self._asked:
            if question.key in self._decided:
                question.take()
            elif question.key not in self.kept:
                question.withdraw(DECIDED)
        return self._run

    def leave(self, but: Container[str] = ()) -> None:
        """See `LinkedApprovals`."""
        for key, question in self.kept.items():
            if question is not None and key not in but:
                question.withdraw(WENT_ON)

    def end(self, error: BaseException) -> None:
        """See `LinkedApprovals`."""
        for one in self.inner.values():
            one.end(error)
        self._run.end_with(error)

    def answered(self, result: Any, timeout: float | None) -> Any:
        """The state with the answers of people."""
        try:
            return self._decide(result, answers_to(self._groups(), timeout))
        except RunCancelled as error:
            self.end(error)
            raise

    async def answered_async(self, result: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 as `answered` has it
        """As `answered`."""
        try:
            return self._decide(result, await answers_to_async(self._groups(), timeout))
        except RunCancelled as error:
            self.end(error)
            raise

    def _keys(self) -> list[str]:
        return [question.key for _, question in self._asked]

    def _groups(self) -> list[list[OpenQuestion]]:
        return [[question] for _, question in self._asked]

    def _state(self, to_state: Any, *args: Any, **options: Any) -> Any:
        state = to_state(*args, **options)
        with contextlib.suppress(AttributeError):
            setattr(state, LINK, self)
        return state

    def _decide(self, result: Any, answers: list[tuple[int, list[Any]]]) -> Any:
        state = result.to_state()
        for number, [answer] in answers:
            item, question = self._asked[number]
            self._decided.add(question.key)
            if approvals.approves(answer):
                state.approve(item)
                continue
            try:
                state.reject(item, rejection_message=approvals.reason_of(answer))
            except TypeError:
                # Earlier versions give the model a text of their own.
                state.reject(item)
        return state


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


def places_of(
    items: Iterable[Any], again: Container[str], settled: Container[str]
) -> Iterable[tuple[tuple[str, int], str]]:
    """Where each of these calls is asked about, and the key of the question: that of `again` if it is asked already,
    else one that none of `settled` has.

    The model's id of a call is the same in each process that reads the state. A model may give an id twice.
    """
    found: set[str] = set()
    for item in items:
        place, question, index = call_id_of(item), question_of(item), 0
        while (key := key_at(place, question, index)) in found or (key in settled and key not in again):
            index += 1
        found.add(key)
        yield (place, index), key


def keys_in(state: Any, asked: Collection[str], settled: Container[str]) -> set[str]:
    """Which of these questions are about calls of a state on which nobody has decided; none where the library does not
    tell."""
    with contextlib.suppress(AttributeError, TypeError):
        items = [one for one in state.get_interruptions() if not _is_decided(state, one)]
        return {key for _, key in places_of(items, asked, settled)}.intersection(asked)
    return set()


def _is_decided(state: Any, item: Any) -> bool:
    """Whether a state has a decision on a call; on one of an agent that is a tool, that of the agent's run has it."""
    find = getattr(state, "_find_nested_approval_state", None)
    owner, own = (find(item) if find is not None else None) or (state, item)
    return owner._context.is_tool_approved(own.name or "", call_id_of(own)) is not None


def call_id_of(item: Any) -> str:
    """The model's id of a call; empty without one."""
    raw = getattr(item, "raw_item", None)
    found = [raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None) for name in ("call_id", "id")]
    return str(found[0] or found[1] or "")


def answer(result: Any, timeout: float | None = None) -> Any:
    """Waits for people to decide on the calls of a result; the state with which the runner goes on.

    Raises RunCancelled, TimeoutError after `timeout` seconds (the questions stay open), and ValueError for a result
    that waits for nobody. A cancel ends the run.
    """
    return _waiting(result).answered(result, timeout)


async def aanswer(result: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 as `answer` has it
    """As `answer`, awaited."""
    return await _waiting(result).answered_async(result, timeout)


def _waiting(result: Any) -> RunnerApprovals:
    found = linked_to(result)
    if not isinstance(found, RunnerApprovals) or not found.asks:
        raise ValueError("this result waits for nobody")
    return found
