"""Interrupts of LangGraph as questions of a run: a graph that waits for somebody is a run that waits for input."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from towerlog.sdk.integrations import approvals
from towerlog.sdk.integrations.answer_pages import answers_to, answers_to_async, page_of
from towerlog.sdk.integrations.langchain.earlier_runs import DRAIN_S, left_in
from towerlog.sdk.integrations.langchain.tree import Place, Tree, Waiting
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.record.run import BaseRun
from towerlog.sdk.record.run_handles import OpenQuestion
from towerlog.sdk.record.values.encoding import str_of
from towerlog.sdk.record.values.question_keys import key_at

WORDINGS = ("question", "message", "description", "prompt", "text")
"""Members of an interrupt's value that may be its question; else all of it is."""
KEY = "__interrupt__"
"""Where the library puts interrupts into what a graph returns."""
ELSEWHERE = "another process has gone on with this thread; the graph's state has what came of it"
ENDED_AS = ("the run has ended as completed", "the run has ended as failed")
"""How the server begins its word on a run that its own agent has ended."""
WENT_ON = "the thread went on without it"


class Interrupts:
    """What the graphs of a tree wait for."""

    def __init__(self, tree: Tree) -> None:
        """Of one recorder."""
        self._tree = tree

    def note(self, place: Place, error: BaseException) -> bool:
        """Whether an error is none: an interrupt, which is remembered for its graph, or another turn of the library."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if "GraphInterrupt" in kinds:
            found = interrupts_in(error.args[0] if error.args else ())
            outermost, ordinal = place.outermost(), ordinal_of(error)
            outermost.interrupts |= {id_of(one): one for one in found}
            for one in found:
                outermost.ordinals.setdefault(id_of(one), ordinal)
        return "GraphBubbleUp" in kinds

    def begin(self, place: Place, outputs: object) -> bool:
        """Whether a graph that has come to an end waits for somebody; if so, its run asks now."""
        if place.up is not None:
            return self._suspend(place)
        found = dict(place.interrupts)
        if isinstance(outputs, Mapping):
            found |= {id_of(one): one for one in interrupts_in(outputs.get(KEY))}
        if not found:
            if _is_taken_up(place):
                place.run.take_left_answers()
            return False
        try:
            page = first_asked(found, () if place.before is None else place.before.questions)
            asked = {
                name: (questions_of(place.run, found[name].value, name, place.ordinals.get(name, 0)), found[name].value)
                for name in page
            }
        except RunCancelled as error:
            place.run.end_with(error)
            return True
        left = {name: one for name, one in found.items() if name not in asked}
        later = {key for name, one in left.items() for key in keys_of(one.value, name, place.ordinals.get(name, 0))}
        if place.before is not None:
            again = {question.key for questions, _ in asked.values() for question in questions}
            _withdraw(place.before, place.before.questions, WENT_ON, but=again | later)
        waiting = Waiting(place.run, asked, place.suspended, is_taken_up=_is_taken_up(place))
        self._tree.wait(place.thread or "", waiting)
        if waiting.is_taken_up and not later:  # else there may be answers among them to what is asked later
            place.run.take_left_answers()
        return True

    def went_on(self, place: Place) -> None:
        """A graph has come to an end that was given answers: its state has what they have led to, which is kept by now,
        and they are acknowledged. Had its process ended before, they would be given to the next one that asks."""
        if place.before is not None:
            for name in place.before.handed_over:
                for question in place.before.questions[name][0]:
                    question.take()

    def _suspend(self, place: Place) -> bool:
        """A graph inside another that waits: it goes on with the other one, as the same run."""
        outermost = place.outermost()
        if not outermost.interrupts:
            return False
        outermost.suspended[place.run.agent or ""] = place.run
        return True

    def goes_on(self, thread: str | None, inputs: object, agent: str, recorder: Recorder) -> Waiting | None:
        """The run that has waited in a thread, where a graph goes on there; of an agent also one of another process.
        Where it begins anew, that one is over."""
        waiting = self._tree.goes_on(thread)
        answers = getattr(inputs, "resume", None)
        goes_on = inputs is None or answers is not None
        if waiting is None:
            return left_in(recorder, thread, agent, answered_here=answers is not None) if goes_on and thread else None
        if not goes_on:
            _withdraw(waiting, waiting.questions, WENT_ON)
            for run in (*waiting.suspended.values(), waiting.run):
                run.give_up(WENT_ON)
            return None
        if answers is not None and not waiting.handed_over:
            if waiting.is_taken_up:
                recorder.drain(DRAIN_S)  # what waited there for this process is told as not taken
            named = [name for name in waiting.questions if isinstance(answers, Mapping) and name in answers]
            _withdraw(waiting, named or waiting.questions, "the program has answered it")
        return waiting

    def answered(self, result: object, timeout: float | None) -> Any:
        """Waits for the answers; the library's `Command`."""
        waiting = self._waiting_for(result)
        try:
            return _handed_over(waiting, answers_to(waiting.groups(), timeout))
        except RunCancelled as error:
            self._end(waiting, error)
            raise gone_on_elsewhere(error) from None

    async def answered_async(self, result: object, timeout: float | None) -> Any:  # noqa: ASYNC109 as `answered` has it
        """As `answered`."""
        waiting = self._waiting_for(result)
        try:
            return _handed_over(waiting, await answers_to_async(waiting.groups(), timeout))
        except RunCancelled as error:
            self._end(waiting, error)
            raise gone_on_elsewhere(error) from None

    def _waiting_for(self, result: object) -> Waiting:
        given = {id_of(one) for one in interrupts_in(result.get(KEY) if isinstance(result, Mapping) else None)}
        for waiting in [*self._tree.waiting.values()]:
            if not given.isdisjoint(waiting.questions):
                return waiting
        if given:
            raise ValueError(f"nobody waits here for what this result asks: it is of another handler, or {ELSEWHERE}")
        raise ValueError("this result waits for nobody: pass what the graph has returned, with its `__interrupt__`")

    def _end(self, waiting: Waiting, error: BaseException) -> None:
        for thread, other in [*self._tree.waiting.items()]:
            if other is waiting:
                self._tree.goes_on(thread)
        for run in (*waiting.suspended.values(), waiting.run):
            run.end_with(error)


def gone_on_elsewhere(error: RunCancelled) -> RunCancelled:
    """What is raised to whoever waits for answers when the run is over: one that nobody has cancelled has ended as
    its graph has, which another process has gone on with."""
    said = str(error)
    return RunCancelled(f"{ELSEWHERE}: {said.partition(';')[0]}") if said.startswith(ENDED_AS) else error


def interrupts_in(value: object) -> Iterable[Any]:
    """The interrupts in what the library gives."""
    return [one for one in value if hasattr(one, "value")] if isinstance(value, list | tuple) else ()


def id_of(interrupt: Any) -> str:
    """The id of an interrupt, as the versions of the library call it."""
    return str(getattr(interrupt, "id", None) or getattr(interrupt, "interrupt_id", ""))


def questions_of(run: BaseRun, value: object, interrupt_id: str, ordinal: int) -> list[OpenQuestion]:
    """Asks what an interrupt asks: one question, or one for each tool call that is to be approved.

    The interrupt has the same id in each process that comes to it, and so have all of one node: `ordinal` says which of
    them it is, as the answer to one must not be taken for that to the next. Without an id, the questions are counted in
    the run.
    """
    place = _place_of(interrupt_id, ordinal)
    asked = enumerate(wordings_of(value))
    return [OpenQuestion(run, text, None, (place, index) if place else None, holds=True) for index, text in asked]


def keys_of(value: object, interrupt_id: str, ordinal: int) -> list[str]:
    """The keys that the questions of an interrupt will have."""
    place = _place_of(interrupt_id, ordinal)
    return [key_at(place, text, index) for index, text in enumerate(wordings_of(value))] if place else []


def _place_of(interrupt_id: str, ordinal: int) -> str:
    return f"{interrupt_id}.{ordinal}" if ordinal else interrupt_id


def first_asked(found: Mapping[str, Any], before: Container[str]) -> list[str]:
    """Ids of the interrupts that are asked now: all, or as many as a server keeps answers of. The others are asked once
    the graph has gone on with these; it comes to them again. `before`: those that were asked already.

    Where some are left, another process chooses the same: the library tells them in any order.
    """
    sizes = {name: len(wordings_of(one.value)) for name, one in found.items()}
    if page_of(sizes.values()) == len(sizes):
        return list(found)
    names = sorted(found, key=lambda name: (name not in before, name))
    chosen = names[: page_of(sizes[name] for name in names)]
    return [name for name in found if name in chosen]


def _handed_over(waiting: Waiting, answers: list[tuple[int, list[Any]]]) -> Any:
    """The library's `Command` with the answers to these of the interrupts."""
    names = list(waiting.questions)
    found = {names[place]: resumed_with(waiting.questions[names[place]][1], given) for place, given in answers}
    waiting.handed_over = frozenset(found)
    return command(found)


def ordinal_of(error: BaseException) -> int:
    """How many interrupts of its node were answered before the one that an error stands for; 0 where nobody knows.

    The library counts them where it raises the error, and tells nobody.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_name != "interrupt":
        return 0
    counted = trace.tb_frame.f_locals.get("idx")
    return counted if isinstance(counted, int) else 0


def _is_taken_up(place: Place) -> bool:
    """Whether another process has begun the run of a graph. What that one had asked and the graph does not come to any
    more, the graph has gone on with: a state that has an answer is kept before the answer is acknowledged."""
    return place.before is not None and place.before.is_taken_up


def _withdraw(waiting: Waiting, names: Iterable[str], reason: str, but: Container[str] = ()) -> None:
    """Withdraws what these interrupts ask; what was answered is told as not taken."""
    for name in names:
        for question in waiting.questions[name][0]:
            if question.key not in but:
                question.withdraw(reason)


def wordings_of(value: object) -> list[str]:
    """What people are asked by an interrupt."""
    if requests := action_requests(value):
        return [approvals.question_of(str(one.get("name")), one.get("args", {})) for one in requests]
    if isinstance(value, Mapping):
        said = next((value[name] for name in WORDINGS if isinstance(value.get(name), str)), None)
        rest = {name: member for name, member in value.items() if member is not said}
        return [str_of(value) if said is None else f"{said} {str_of(rest)}" if rest else said]
    return [value if isinstance(value, str) else str_of(value)]


def action_requests(value: object) -> list[Mapping[str, Any]]:
    """The tool calls that LangChain's middleware wants approved; none of another interrupt."""
    found = value.get("action_requests") if isinstance(value, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def resumed_with(value: object, answers: list[Any]) -> Any:
    """What the graph gets for the answers to an interrupt."""
    if not action_requests(value):
        return answers[0]
    return {"decisions": [_decision(answer) for answer in answers]}


def _decision(answer: object) -> dict[str, str]:
    if approvals.approves(answer):
        return {"type": "approve"}
    return {"type": "reject", "message": approvals.reason_of(answer)}


def command(answers: dict[str, Any]) -> Any:
    """The library's `Command` by which a graph goes on with these answers, by the ids of the interrupts."""
    from langgraph.types import Command

    return Command(resume=answers)
