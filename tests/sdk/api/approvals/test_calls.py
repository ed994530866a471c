"""The calls about approvals against a real server: tool calls that are decided about, questions that are answered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sdk.served import checkpoint, run_id_of, told, unique
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.sdk.api.client import Client
from towerlog.sdk.wire.errors import ApiError


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


@pytest.fixture(scope="module")
def client(server) -> Iterator[Client]:
    with Client(server.base_url, ADMIN_KEY) as one:
        yield one


def test_tool_calls_are_decided_about_once(client, server) -> None:
    thread = unique("thread")
    checkpoint(server, thread, unique("trace"), "waiting_for_approval", 1)
    run_id = run_id_of(server, thread)
    [waiting] = client.list_approvals(run_id=run_id)
    assert (waiting.kind, waiting.thread_id, waiting.step_index) == ("approval", thread, 1)
    link = client.create_answer_link(waiting.approval_id, "ada", 60)
    assert (link.sent_to, link.path[:3]) == ("ada", "/a/")
    decided = client.approve(waiting.approval_id, reason="fine")
    assert (decided.state, decided.question_id) == ("approved", None)
    with pytest.raises(ApiError) as caught:
        client.deny(waiting.approval_id)
    assert caught.value.status == 409
    assert client.get_approval(waiting.approval_id).state == "approved"


def test_questions_are_answered(client, server) -> None:
    name = unique("asks")
    told(server, "human_input_requested", name, question="Send it?")
    [asked] = [one for one in client.list_approvals(kind="question") if name in one.thread_id]
    assert client.answer_approval(asked.approval_id, "yes").state == "answered"
    with pytest.raises(ApiError, match="the first answer counts"):
        client.answer_approval(asked.approval_id, {"any": "JSON"})
