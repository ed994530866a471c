"""`towerlog approvals`: what waits for a person, from the command line, against a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.cli.serving import asking, lines, told_json
from tests.cli.terminal import on_terminal, seen
from tests.sdk.served import checkpoint, told, unique
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.cli import exits


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


def waiting(server: Server, kind: str) -> str:
    """The id of something new that waits."""
    before = {one["approval_id"] for one in told_json(server, "approvals", "ls", "--limit", "500")["data"]}
    if kind == "question":
        told(server, "human_input_requested", unique("asks"), question="Send\x07 it?", risk="high")
    else:
        checkpoint(server, unique("thread"), unique("trace"), "waiting_for_approval", 2)
    [made] = [
        one["approval_id"]
        for one in told_json(server, "approvals", "ls", "--kind", kind, "--limit", "500")["data"]
        if one["approval_id"] not in before
    ]
    return str(made)


def test_what_waits_is_listed(server) -> None:
    question, calls = waiting(server, "question"), waiting(server, "approval")
    [line] = [line for line in lines(server, "approvals", "ls") if question[-10:] in line]
    assert "Send\\x07 it?" in line
    assert "high" in line
    run_id = calls.partition(".")[0]
    assert [one["approval_id"] for one in told_json(server, "approvals", "ls", "--run", run_id)["data"]] == [calls]


def test_what_waits_is_shown_whole_beside_its_run(server) -> None:
    question, calls = waiting(server, "question"), waiting(server, "approval")
    shown = "\n".join(lines(server, "approvals", "show", question[:-1]))
    assert "Send\\x07 it?" in shown
    assert re.search(r"risk +high", shown)
    run_id = calls.partition(".")[0]
    [call] = told_json(server, "approvals", "show", calls)["tool_calls"]
    for command in (("approvals", "show", calls), ("runs", "show", run_id)):
        assert f"{call['name']} " in "\n".join(lines(server, *command))
    assert calls in "\n".join(lines(server, "runs", "show", run_id))
    assert asking(server, "approvals", "show", "nothing").exit_code == exits.FOUND_WRONG


def test_what_was_decided_is_shown_by_its_whole_id(server) -> None:
    question = waiting(server, "question")
    server.client().post(f"/api/v1/approvals/{question}", json={"content": "yes"}).raise_for_status()
    shown = "\n".join(lines(server, "approvals", "show", question))
    assert re.search(r"state +answered", shown)
    assert re.search(r"answered by +admin", shown)
    assert "the whole id" in asking(server, "approvals", "show", question[:-1]).output


def test_times_of_an_approval_are_those_of_this_machine_on_a_terminal(server) -> None:
    question = waiting(server, "question")

    def asked(*how: str) -> str:
        return next(line for line in seen(server, 80, "approvals", "show", question, *how) if line.startswith("asked"))

    assert re.fullmatch(r"asked +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", asked())
    assert asked("--utc").endswith("Z")


def test_at_80_columns_it_can_be_read_what_waits(server) -> None:
    told(server, "human_input_requested", unique("asks"), question="Delete all of last year's reports?", risk="high")
    shown = seen(server, 80, "approvals", "ls")
    assert any("Delete all of last year's" in line for line in shown), shown
    assert all(len(line) <= 80 for line in shown)


@pytest.mark.parametrize(("verb", "state"), [("approve", "approved"), ("deny", "denied")])
def test_tool_calls_are_decided_about_once(server, verb, state) -> None:
    one = waiting(server, "approval")
    assert told_json(server, "approvals", verb, one, "--reason", "seen")["state"] == state
    assert asking(server, "approvals", verb, one).exit_code == exits.FOUND_WRONG
    assert lines(server, "approvals", verb, waiting(server, "approval"))[0].startswith("Tool calls ")


def test_a_question_is_answered_by_the_beginning_of_its_id(server) -> None:
    one = waiting(server, "question")
    [line] = lines(server, "approvals", "answer", one[:-1], "yes")
    assert line == f"Question {one}: answered. The agent is told with its next reply."
    assert asking(server, "approvals", "answer", one, "no").exit_code == exits.FOUND_WRONG
    assert asking(server, "approvals", "answer", "nothing", "no").exit_code == exits.FOUND_WRONG


def test_at_80_columns_a_sentence_is_broken_between_words(server) -> None:
    """Those that carry a whole id, and what refuses a second decision."""
    one = waiting(server, "approval")
    said = seen(server, 80, "approvals", "approve", one)
    assert " ".join(said) == f"Tool calls {one}: approved. The agent is told with its next reply."
    asked_of = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY}
    code, refused = on_terminal(80, "approvals", "approve", one, **asked_of)
    assert code == exits.FOUND_WRONG
    for shown in (said, refused):
        assert len(shown) > 1, "else it says nothing of this"
        assert all(len(line) <= 80 and line == line.strip() for line in shown), shown


def test_a_link_is_made_for_somebody(server) -> None:
    one = waiting(server, "question")
    [path] = lines(server, "approvals", "link", one, "--to", "ada@example.com", "--hours", "1")
    assert server.client(None).get(path).status_code == 200
    assert asking(server, "approvals", "link", one).exit_code == exits.USAGE
