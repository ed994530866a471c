"""The messages of live push: what is read of a client's, what an event looks like, who may sign what."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from tests.support.factories import event, run_row
from towerlog.dialects.pusher import messages
from towerlog.dialects.pusher.messages import MAX_PUSHED_BYTES, event_message, listen_of, read, signature
from towerlog.model.agent import AgentRow
from towerlog.model.event import EventType
from towerlog.model.facts import Facts
from towerlog.model.question import Listen, ListenKind
from towerlog.model.run import Status


def test_a_signature_is_that_of_the_protocol() -> None:
    """The example of the protocol's own documentation of private channels."""
    signed = signature("278d425bdf160c739803", "7ad3773142a6692b25b8", "1234.1234", "private-foobar")
    assert signed == "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"


@pytest.mark.parametrize("data", [{"channel": "c"}, '{"channel":"c"}'])
def test_data_may_be_an_object_or_its_text(data: object) -> None:
    found = read(json.dumps({"event": "pusher:subscribe", "data": data}))
    assert found is not None
    assert found.told("channel") == "c"
    assert found.told("auth") == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", "no", '{"event":1}', "[" * 5000, "null"])
def test_what_is_no_message_is_none(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("data", [1, [], "x", '"x"', {"channel": 1}, None, "[" * 5000])
def test_data_of_another_kind_says_nothing(data: object) -> None:
    found = read(json.dumps({"event": "pusher:subscribe", "data": data}))
    assert found is not None
    assert found.told("channel") == ""


def test_channels_are_of_users_runs_and_agents() -> None:
    assert listen_of("private-user.u") == Listen(ListenKind.USER, "u")
    assert listen_of("private-run.r.1") == Listen(ListenKind.RUN, "r.1")
    assert listen_of("private-agent.a") == Listen(ListenKind.AGENT, "a")
    names = [
        "",
        "user.u",
        "private-user",
        "private-user.",
        "presence-user.u",
        "private-org.o",
        "private-run." + "r" * 200,
    ]
    assert [listen_of(name) for name in names] == [None] * len(names)


def pushed(**fields: object) -> dict[str, object]:
    row = run_row(foreign_id="steps:r-1", agent="main", status=Status.FAILED)
    text = event_message("private-run.x", event(7, 3, **fields), row, None)
    message = json.loads(text)
    assert (message["event"], message["channel"]) == ("agent.event", "private-run.x")
    found: dict[str, object] = json.loads(message["data"])
    return found


def test_an_event_has_what_the_page_of_the_wire_says() -> None:
    found = pushed(type=EventType.RUN_FAILED, data='{"a":"é\\"\\n"}'.encode(), occurred_at=1_700_000_000_123)
    assert set(found) == {
        "event_id", "event_type", "sdk_run_id", "run_id", "agent_name", "status", "payload", "occurred_at",
        "recorded_at",
    }  # fmt: skip
    assert found["event_id"] == 7
    assert (found["event_type"], found["status"], found["sdk_run_id"]) == ("error", "error", "r-1")
    assert found["payload"] == {"a": 'é"\n'}
    assert found["occurred_at"] == "2023-11-14T22:13:20.123Z"
    assert found["agent_name"] == "main"


def test_the_agent_is_that_of_the_event() -> None:
    agent = AgentRow(3, 1, "an-id", "helper", 0)
    text = event_message("c", event(7, 3, agent=3), run_row(agent="main"), agent)
    assert json.loads(json.loads(text)["data"])["agent_name"] == "helper"


@pytest.mark.parametrize("kind", EventType)
def test_every_type_has_a_word(kind: EventType) -> None:
    found = pushed(type=kind, facts=Facts(name="their.own"))
    expected = "their.own" if kind is EventType.OTHER else messages._WORDS.get(kind, kind.value)
    assert found["event_type"] == expected


def test_a_payload_that_is_too_long_is_left_out_and_said_to_be() -> None:
    long = b'{"a":"%s"}' % (b"x" * MAX_PUSHED_BYTES)
    found = pushed(data=long)
    assert found["payload"] is None
    assert found["payload_omitted"] is True
    assert "payload_omitted" not in pushed()


def test_nothing_is_made_of_a_payload_that_is_too_long() -> None:
    """The messages of a commit are made on the event loop, one for each channel."""
    long, row = event(7, 3, data=b'{"a":"%s"}' % (b"x" * 4_000_000)), run_row()
    tracemalloc.start()
    try:
        event_message("private-run.x", long, row, None)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * MAX_PUSHED_BYTES
