"""A conversation that is sent with every call is told once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from towerlog.sdk.integrations import approvals
from towerlog.sdk.integrations.new_messages import MAX_CONVERSATIONS, ToldMessages


def said(*words: str) -> list[Any]:
    return [{"content": word} for word in words]


def test_a_call_tells_what_is_new_and_where_the_rest_stands() -> None:
    told, first = ToldMessages(lambda message: message), said("a", "b")
    assert told.members("", "s1", first) == {"messages": first}
    second = [*first, *said("c")]
    assert told.members("", "s2", second) == {
        "messages": second[2:],
        "messages_after": {"span_id": "s1", "count": 2},
    }


def test_a_history_that_was_cut_or_changed_is_told_from_there() -> None:
    told, first = ToldMessages(lambda message: message), said("a", "b", "c")
    told.members("", "s1", first)
    changed = [first[0], *said("B"), first[2]]
    assert told.members("", "s2", changed) == {
        "messages": changed[1:],
        "messages_after": {"span_id": "s1", "count": 1},
    }
    assert told.members("", "s3", said("a"))["messages"] == [], "a mapping that says the same is the same"
    others = [SimpleNamespace(content="a")]
    assert told.members("", "s4", others) == {"messages": others}


def test_conversations_of_two_agents_stand_apart_and_are_bounded() -> None:
    told = ToldMessages(lambda message: message)
    shared = said("a")
    told.members("one", "s1", shared)
    assert "messages_after" not in told.members("other", "s2", shared)
    for number in range(MAX_CONVERSATIONS):
        told.members(f"more {number}", "s3", shared)
    assert "messages_after" not in told.members("one", "s4", shared)


@pytest.mark.parametrize(
    ("answer", "approved"),
    [("yes", True), (" Yes. ", True), ("OK!", True), ("no", False), ("not on a Sunday", False), ("", False)],
)
def test_a_yes_approves_and_anything_else_is_the_reason(answer: str, approved: bool) -> None:
    assert approvals.approves(answer) is approved
    assert approvals.reason_of(answer) == (answer.strip() or approvals.DENIED)


def test_a_call_is_worded_for_people() -> None:
    assert approvals.question_of("rm", {"path": "/", "really": True}).startswith('Approve rm(path="/", really=true)?')
    assert approvals.in_words("rm", "everything") == "rm(everything)"
