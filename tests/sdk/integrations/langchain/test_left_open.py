"""A question of a graph outlives the process that has asked it: the thread's run goes on wherever the thread does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sdk.integrations.frameworks import Told, python_of, run_program
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.sdk.api.client import Client

Go = Callable[[str, str], str]
PROGRAM = Path(__file__).parent / "left_open.py"


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with Server(tmp_path / "data", NO_LIMITS) as server:
        found = Told(server, tmp_path / "state")
        yield found
        found.close()


@pytest.fixture
def go(told: Told, tmp_path: Path) -> Go:
    """Carries a thread on in a process of its own; what its graph has come to."""
    python = python_of("langchain")
    return lambda thread, how: run_program(python, PROGRAM, told.env, str(tmp_path / thread), thread, how).strip()


def answer(told: Told, words: str) -> str:
    """A person answers the one open question; its approval."""
    with Client(told.env["TOWERLOG_URL"], ADMIN_KEY) as client:
        [asked] = [one for one in client.list_approvals() if one.state == "open"]
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
