"""A question of a graph outlives the process that has asked it: the thread's run goes on wherever the thread does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sdk.integrations.frameworks import PROGRAM_DEADLINE_S, Told, python_of, run_program
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.sdk.api.client import Client
from towerlog.sdk.record.values.held_answers import MAX_KEPT

Go = Callable[[str, str], str]
PROGRAM = Path(__file__).parent / "left_open.py"


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with Server(tmp_path / "data", NO_LIMITS) as server:
        found = Told(server, tmp_path / "state")
        yield found
        found.close()


@pytest.fixture
def go(told: Told, tmp_path: Path, request: pytest.FixtureRequest) -> Go:
    """Carries a thread on in a process of its own; what its graph has come to."""
    python = python_of(getattr(request, "param", "langchain"))
    return lambda thread, how: run_program(python, PROGRAM, told.env, str(tmp_path / thread), thread, how).strip()


def answer(told: Told, words: str, question: str = "Publish?") -> str:
    """A person answers the one open question of these words; its approval."""
    with Client(told.env["TOWERLOG_URL"], ADMIN_KEY) as client:
        [asked] = [one for one in client.list_approvals() if one.state == "open" and one.question == question]
        client.answer_approval(asked.approval_id, words)
        return asked.approval_id


def test_an_answer_that_was_given_while_no_process_was_there_is_taken(told: Told, go: Go) -> None:
    go("t", "ask")
    answer(told, "no")
    assert go("t", "go") == "? None", "the second question is open"
    [run] = told.runs("t")
    assert (run.status, len(told.events(run, "run.started"))) == ("waiting_for_input", 2)
    answer(told, "never")
    assert go("t", "go") == "no never"
    [run] = told.runs("t")
    assert run.status == "completed"
    assert [(one.state, one.taken_at is not None) for one in run.closed_questions] == [("answered", True)] * 2


def test_an_open_question_is_the_same_in_the_next_process(told: Told, go: Go) -> None:
    go("t", "ask")
    [before] = told.runs("t")
    assert go("t", "go") == "? None"
    [run] = told.runs("t")
    assert [one.question_id for one in run.questions] == [one.question_id for one in before.questions]
    keys = {event.data["question_key"] for event in told.events(run, "run.waiting_for_input")}
    assert len(keys) == 1


def test_a_program_that_brings_the_answer_closes_the_question(told: Told, go: Go) -> None:
    go("t", "ask")
    assert go("t", "own") == "? None"
    [run] = told.runs("t")
    assert [event.data["reason"] for event in told.events(run, "run.question_withdrawn")] == [
        "the program has answered it"
    ]
    assert len(run.questions) == 1, "the next one is open"
    assert go("t", "own") == "mine mine"
    [run] = told.runs("t")
    assert (run.status, run.questions) == ("completed", ())


def test_an_answer_beside_that_of_the_program_is_told_as_not_taken(told: Told, go: Go) -> None:
    go("t", "ask")
    answer(told, "no")
    go("t", "own")
    [run] = told.runs("t")
    assert [(one.state, one.taken_at) for one in run.closed_questions] == [("withdrawn", None)]


def test_an_answer_is_kept_until_all_have_come_that_it_is_needed_with(told: Told, go: Go) -> None:
    go("t", "fan2-ask")
    [before] = told.runs("t")
    answer(told, "no", "Publish 1?")
    assert go("t", "fan2-go") == "", "the other one is open"
    [run] = told.runs("t")
    [answered] = run.closed_questions
    assert (answered.state, answered.taken_at) == ("answered", None)
    answer(told, "yes", "Publish 2?")
    assert go("t", "fan2-go") == "1 no 2 yes"
    [run] = told.runs("t")
    assert {one.question_id for one in run.closed_questions} == {one.question_id for one in before.questions}
    assert all(one.state == "answered" and one.taken_at is not None for one in run.closed_questions)


@pytest.mark.parametrize("moment", ["unused", "inside"])
def test_a_kill_before_the_graph_has_kept_the_answers_loses_none(told: Told, go: Go, moment: str) -> None:
    go("t", "fan2-ask")
    answer(told, "no", "Publish 1?")
    answer(told, "yes", "Publish 2?")
    go("t", f"fan2-{moment}")
    assert go("t", "fan2-go") == "1 no 2 yes"
    [run] = told.runs("t")
    assert run.status == "completed"
    assert len(told.events(run, "run.input")) == 2, "nobody was asked again"


@pytest.mark.parametrize("go", ["langchain", pytest.param("langchain-older", marks=pytest.mark.slow)], indirect=True)
def test_an_answer_is_none_to_the_next_interrupt_of_its_node(told: Told, go: Go) -> None:
    go("t", "ask")
    answer(told, "yes")
    go("t", "kept")
    assert go("t", "go") == "? None", "the second question is open"
    answer(told, "no")
    assert go("t", "go") == "yes no"
    [run] = told.runs("t")
    taken = [(one.state, one.taken_at is not None) for one in run.closed_questions]
    assert taken == [("answered", True)] * 2, "that of the process which was killed as well"


def answer_all(told: Told, count: int) -> None:
    """A person answers so many questions, as they are asked and as there is room."""
    with Client(told.env["TOWERLOG_URL"], ADMIN_KEY) as client:
        answered: list[str] = []

        def some() -> bool:
            for one in [*client.list_approvals()]:
                if one.state == "open":
                    client.answer_approval(one.approval_id, f"to {one.question}")
                    answered.append(one.approval_id)
            return len(answered) >= count

        wait_until(some, "the answers", deadline_s=PROGRAM_DEADLINE_S)


def test_of_more_than_a_server_keeps_answers_of_none_is_lost_and_nobody_is_asked_twice(told: Told, go: Go) -> None:
    """The graph goes on with as many as there is room for, and comes to the others again; killed in between."""
    count = MAX_KEPT + 8
    assert go("t", f"fan{count}-ask") == ""
    [run] = told.runs("t")
    assert len(run.questions) == MAX_KEPT
    answer_all(told, MAX_KEPT)
    for how in ("unused", "inside"):
        go("t", f"fan{count}-{how}")
    with ThreadPoolExecutor(1) as people:
        answering = people.submit(answer_all, told, count - MAX_KEPT)
        said = go("t", f"fan{count}-go")
        answering.result()
    assert sorted(said.split()) == sorted(
        word for number in range(1, count + 1) for word in f"{number} to Publish {number}?".split()
    )
    [run] = told.runs("t")
    assert run.status == "completed"
    asked = {event.data["question_id"] for event in told.events(run, "run.waiting_for_input")}
    assert (len(asked), len(told.events(run, "run.input"))) == (count, count)
    assert all(one.taken_at is not None for one in run.closed_questions)
