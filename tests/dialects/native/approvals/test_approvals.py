"""The inbox's endpoints without a server: how an answer is read, and what an id names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.calls import body_of, endpoint_of, make_call, tried
from tests.support.factories import run_row
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.native import NATIVE
from towerlog.errors import Invalid, NotFound
from towerlog.model.answer_link import opened
from towerlog.model.approval import (
    AnswerApproval,
    AnswerLink,
    ApprovalDecision,
    ApprovalRef,
    ApprovalRow,
    parse_approval_id,
)
from towerlog.model.approval_views import ApprovalView, LinkMade
from towerlog.model.command import MAX_INPUT_BYTES

RUN = "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55"
QUESTION, CALLS = ApprovalRef(RUN, 4), ApprovalRef(RUN, 9, 2)
ANSWER = endpoint_of(NATIVE, "POST", "/api/v1/approvals/{approval_id}")
LIST = endpoint_of(NATIVE, "GET", "/api/v1/approvals")
LINK = endpoint_of(NATIVE, "POST", "/api/v1/approvals/{approval_id}/links")


@pytest.mark.parametrize("ref", [QUESTION, CALLS, ApprovalRef(RUN, 1, 0), ApprovalRef(RUN, 4, asked=9)])
def test_an_id_names_what_it_was_made_of(ref: ApprovalRef) -> None:
    assert parse_approval_id(ref.approval_id) == ref


@pytest.mark.parametrize(
    "text",
    ["", RUN, f"{RUN}.q", f"{RUN}.q0", f"{RUN}.q04", f"{RUN}.a2", f"{RUN.upper()}.q4", f"{RUN}.q4 ", f"{RUN}.q4.4"],
)
def test_what_is_no_id_is_not_found(text: str) -> None:
    assert parse_approval_id(text) is None
    assert isinstance(tried(lambda: ANSWER.decode(make_call({"content": "x"}, approval_id=text))), NotFound)


@pytest.mark.parametrize(
    ("content", "given"),
    [("yes", "yes"), ("42", "42"), (43, "43"), ({"a": [1, None]}, '{"a":[1,null]}'), (False, "false"), ("ä🌦", "ä🌦")],
)
def test_content_is_text_or_any_json(content: Any, given: str) -> None:
    command = ANSWER.decode(make_call({"content": content}, approval_id=QUESTION.approval_id))
    assert command == AnswerApproval(QUESTION, content=given, is_text=isinstance(content, str))


def test_a_decision_may_have_a_reason() -> None:
    command = ANSWER.decode(make_call({"decision": "deny", "reason": "no"}, approval_id=CALLS.approval_id))
    assert command == AnswerApproval(CALLS, ApprovalDecision.DENY, None, "no")


@pytest.mark.parametrize("content", ["x" * (MAX_INPUT_BYTES + 1), "ü" * MAX_INPUT_BYTES, ["x" * MAX_INPUT_BYTES]])
def test_a_long_answer_is_refused_by_its_field(content: Any) -> None:
    refused = tried(lambda: ANSWER.decode(make_call({"content": content}, approval_id=QUESTION.approval_id)))
    assert isinstance(refused, Invalid)
    assert refused.field == "content"


@pytest.mark.parametrize("query", [{"kind": "letter"}, {"limit": "0"}, {"cursor": "x"}])
def test_a_list_of_what_is_not_there_is_refused(query: dict[str, str]) -> None:
    assert isinstance(tried(lambda: LIST.decode(make_call(query=query))), Invalid)


def test_a_link_is_signed_and_has_the_servers_address_where_that_is_known() -> None:
    link = AnswerLink(1, "org", QUESTION, "user", "key", "ada", 1_700_000_000_000, "n")
    for url in ("", "https://t.example"):
        call = make_call(settings=DialectSettings(public_url=url, link_secret="s"))
        body = body_of(LINK.encode(LinkMade(link), None, call))
        assert opened("s", body["path"].removeprefix("/a/")) == link
        assert opened("other", body["path"].removeprefix("/a/")) is None
        assert body["url"] == (url + body["path"] if url else None)


def test_a_question_that_is_no_text_is_shown_by_its_beginning() -> None:
    row = ApprovalRow(1, 1, 4, 7, 0, 4, text="Send …")
    view = ApprovalView(row, run_row(), json.dumps({"question": {"odd": 1}, "tool_calls": [1]}).encode())
    shown = body_of(endpoint_of(NATIVE, "GET", "/api/v1/approvals/{approval_id}").encode(view, None, make_call()))
    assert (shown["question"], shown["tool_calls"], shown["schema"]) == ("Send …", [1], None)
