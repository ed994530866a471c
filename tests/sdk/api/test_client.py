"""The blocking client against a real server, endpoint by endpoint, and against one that fails on order."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.served import checkpoint, reported, run_id_of, told, unique
from tests.sdk.talker import CLOSE, headers_of, reply, talking
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import Gap, RunEvent
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.wire.errors import ApiError, SdkError, Unreachable
from towerlog.sdk.wire.retries import Retries

NOBODY = "00000000-0000-7000-8000-000000000000"
EAGER = Retries(attempts=4, first_s=0.001, longest_s=0.001)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


@pytest.fixture(scope="module")
def client(server) -> Iterator[Client]:
    with Client(server.base_url, ADMIN_KEY) as one:
        yield one


def test_a_run_is_queued_seen_answered_and_ended(client) -> None:
    thread = unique("thread")
    made = client.create_run(thread, input="go", agent="writer", metadata={"a": 1}, labels={"gpu": "1"})
    run = client.get_run(made.run_id)
    assert (run.run_id, run.thread_id, run.status, run.agent) == (made.run_id, thread, "queued", "writer")
    assert (run.input, run.metadata, run.trace_id) == ("go", {"a": 1}, made.trace_id)
    assert client.get_run(made.run_id, with_children=False).run_id == made.run_id
    assert [row.run_id for row in client.list_thread_runs(thread)] == [made.run_id]
    assert [lane.labels for lane in client.get_queue("queued").data if lane.run_id == made.run_id] == [{"gpu": "1"}]
    with pytest.raises(ApiError) as caught:
        client.give_input(made.run_id, " ")
    assert caught.value.status == 422
    assert "content" in caught.value.details
    client.cancel_run(made.run_id, "no need")
    assert client.get_run(made.run_id).status == "cancelled"


def test_a_recorded_run_knows_its_id_and_is_found_by_its_key(client, server, tmp_path) -> None:
    recorder = Recorder(server.base_url, ADMIN_KEY, spool_dir=tmp_path)
    with recorder.record_run(agent="a", thread=unique("thread"), input={"q": 1}) as run:
        with recorder.record_run(agent="b", run_key=unique("child/key")) as child:
            child.complete("done")
        run.result = [1]
    assert recorder.flush(20)
    found = client.get_run(run.run_key)
    assert (found.run_id, found.input, found.result) == (run.run_id, {"q": 1}, [1])
    assert run.url == f"{server.base_url}/runs/{run.run_id}"
    inner = client.get_run(child.run_key, with_children=False)
    assert (inner.thread_id, inner.parent_run_id, inner.result) == (found.thread_id, found.run_id, "done")
    recorder.close(0.0)
    with pytest.raises(ApiError) as caught:
        client.get_run(run.run_key[:-1])
    assert caught.value.status == 404


def test_a_run_is_found_by_the_beginning_of_its_id(client) -> None:
    made = client.create_run(unique("thread")).run_id
    assert client.find_runs(made[:18]) == (made,)
    assert client.find_runs(made.replace("-", "").upper()) == (made,)
    assert client.find_runs("ffff") == ()
    with pytest.raises(ApiError) as caught:
        client.find_runs("%")
    assert "prefix" in caught.value.details


def test_children_are_in_the_tree_of_their_run(client) -> None:
    parent = client.create_run(unique("thread")).run_id
    child = client.create_run(unique("thread"), parent_run_id=parent).run_id
    assert [run.run_id for run in client.get_run(parent).children] == [child]
    assert client.get_run(parent, with_children=False).children == ()


def test_the_same_key_gives_the_same_run_and_without_one_each_call_is_another(client) -> None:
    thread, key = unique("thread"), unique("key")
    first = client.create_run(thread, idempotency_key=key)
    assert client.create_run(thread, idempotency_key=key).run_id == first.run_id
    assert client.create_run(thread).run_id != first.run_id


def test_lists_are_walked_over_all_their_pages(client) -> None:
    thread = unique("thread")
    made = [client.create_run(thread).run_id for _ in range(5)]
    newest_first = made[::-1]
    for size in (1, 2, 5, 200):
        assert [run.run_id for run in client.list_runs(size, thread_id=thread)] == newest_first
        assert [run.run_id for run in client.list_run_rows(size, thread_id=thread)] == newest_first
    assert [run.run_id for run in client.list_runs(1, thread_id=thread, status=["queued", "failed"])] == newest_first
    assert list(client.list_runs(thread_id=thread, status="failed")) == []


def test_a_list_asks_for_no_more_than_is_taken(client, server) -> None:
    thread = unique("thread")
    for _ in range(3):
        client.create_run(thread)
    with (
        talking(*[reply(200, server.client().get(f"/api/v1/runs?thread_id={thread}&limit=1").content)] * 3) as talker,
        Client(talker.url) as other,
    ):
        runs = other.list_runs(1)
        next(runs)
        assert len(talker.requests) == 1


def test_a_run_is_read_and_followed_event_by_event(client, server) -> None:
    run_id = run_id_of(server, reported(server, steps=3))
    events = list(client.list_events(run_id))
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert [event.type for event in events] == ["run.started", "step", "step", "step", "run.completed"]
    assert [event.seq for event in client.list_events(run_id, 3)] == [4, 5]
    assert [event.seq for event in client.list_events(run_id, types=["step"])] == [2, 3, 4]
    followed = [event for event in client.follow(run_id) if isinstance(event, RunEvent)]
    assert [(event.seq, event.type, event.data) for event in followed] == [
        (event.seq, event.type, event.data) for event in events
    ]
    assert [event.seq for event in client.follow(run_id, 4) if isinstance(event, RunEvent)] == [5]
    assert list(client.follow(run_id, 5)) == []
    assert list(client.list_quarantine(run_id)) == []


def test_more_events_than_a_page_are_read_to_the_last(client, server, monkeypatch) -> None:
    monkeypatch.setattr("towerlog.sdk.api.endpoints.EVENTS_PAGE", 2)
    run_id = run_id_of(server, reported(server, steps=3))
    assert [event.seq for event in client.list_events(run_id, 1)] == [2, 3, 4, 5]


def test_a_follower_survives_the_servers_death_without_a_gap(tmp_path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    try:
        server.start()
        name = unique("told")
        told(server, "run_start", name)
        run_id = run_id_of(server, name)
        got: list[RunEvent | Gap] = []
        client = Client(server.base_url, ADMIN_KEY)
        reader = threading.Thread(target=lambda: got.extend(client.follow(run_id)))
        reader.start()
        for number in range(3):
            told(server, "step", name, number=number)
            server.kill()
            told(server.start(), "step", name, number=number)
        told(server, "run_end", name)
        reader.join(60)
        assert not reader.is_alive(), "the follower did not see the end"
        client.close()
        assert [event.seq for event in got if isinstance(event, RunEvent)] == list(range(1, 9))
        assert len(got) == 8
    finally:
        server.close()


def test_checkpoints(client, server) -> None:
    thread, trace = unique("thread"), unique("trace")
    checkpoint(server, thread, trace)
    checkpoint(server, thread, trace, "waiting_for_approval", 1)
    run_id = run_id_of(server, thread)
    found = list(client.list_checkpoints(run_id))
    assert [one.step_index for one in found] == [0, 1]
    assert all(one.history is None for one in found)
    assert client.get_checkpoint(run_id, 0).history == [{"role": "user", "content": "hello"}]
    assert client.get_checkpoint(run_id, found[1].checkpoint_id).step_index == 1


def test_threads_agents_and_usage(client, server) -> None:
    thread = client.create_thread(unique("thread"), "A title", "reject")
    assert (thread.title, thread.policy) == ("A title", "reject")
    assert client.get_thread(thread.thread_id).thread_id == thread.thread_id
    assert thread.thread_id in [one.thread_id for one in client.list_threads()]
    agent = client.register_agent(unique("agent"))
    assert client.register_agent(agent.name).agent_id == agent.agent_id == client.get_agent(agent.agent_id).agent_id
    assert [one.agent_id for one in client.list_agents(agent.name)] == [agent.agent_id]
    assert agent.agent_id in [one.agent_id for one in client.list_agents()]
    client.create_run(unique("thread"), agent=agent.name)
    [total] = [one for one in client.list_usage("agent") if one.agent == agent.name]
    assert (total.events, total.hour) == (1, None)
    assert client.list_workers() == ()


def test_an_agents_feed_is_read_and_followed(client, server) -> None:
    agent = client.register_agent(unique("agent"))
    push = f"/agents/{agent.agent_id}/events"
    for kind in ("file_read", "file_write"):
        assert server.client().post(push, json={"type": kind}).status_code == 200
    assert [event.type for event in client.agent_events(agent.agent_id)] == ["file_read", "file_write"]
    assert [event.type for event in client.agent_events(agent.agent_id, 1)] == ["file_write"]
    feed = client.follow_agent(agent.agent_id, 2)
    assert [next(feed).raw["type"], next(feed).raw["type"]] == ["file_read", "file_write"]
    assert server.client().post(push, json={"type": "directory_list"}).status_code == 200
    assert next(feed).raw["type"] == "directory_list"
    feed.close()  # type: ignore[attr-defined]


def test_keys_are_made_listed_and_revoked(client, server) -> None:
    key = client.create_key("mine", ["read"])
    assert key.key
    with Client(server.base_url, key.key) as reader:
        assert reader.whoami().scopes == ["read"]
        with pytest.raises(ApiError) as caught:
            reader.create_run("t")
        assert caught.value.status == 403
    assert key.key_id in [one.key_id for one in client.list_keys()]
    assert client.revoke_key(key.key_id).revoked_at


def test_a_refusal_is_told_whole(client, server) -> None:
    with pytest.raises(ApiError) as caught:
        client.get_run(NOBODY)
    assert (caught.value.status, caught.value.code) == (404, "not_found")
    assert caught.value.trace_id
    with Client(server.base_url, "wrong") as stranger, pytest.raises(ApiError) as caught:
        stranger.whoami()
    assert caught.value.status == 401


def test_a_change_is_repeated_with_its_key_until_it_is_answered() -> None:
    good = reply(201, b'{"run_id":"r","trace_id":"t"}')
    with talking(None, reply(503, b"{}"), reply(429, b"{}", {"Retry-After": "0"}), good) as talker:
        with Client(talker.url, retries=EAGER) as client:
            assert client.create_run("t").run_id == "r"
        keys = [headers_of(head)["idempotency-key"] for head, _ in talker.requests]
        assert len(keys) == 4
        assert len(set(keys)) == 1
        assert len({body for _, body in talker.requests}) == 1


def test_two_changes_have_two_keys() -> None:
    good = reply(200, b'{"ok":true}')
    with talking(good, good) as talker, Client(talker.url) as client:
        client.cancel_run("r")
        client.cancel_run("r")
        first, second = [headers_of(head)["idempotency-key"] for head, _ in talker.requests]
        assert first != second


def test_what_has_ids_of_its_own_needs_no_key_and_waits_as_long_as_it_said() -> None:
    late = reply(200, b'{"results":[],"commands":[]}')
    with talking(late) as talker, Client(talker.url, timeout_s=5) as client:
        client.send_events("c", [{"event_id": "e"}], ["k"], 1)
        [(head, body)] = talker.requests
        assert "idempotency-key" not in headers_of(head)
        assert body == b'{"client_id":"c","events":[{"event_id":"e"}],"runs":["k"],"wait_seconds":1}'


def test_it_is_given_up_in_the_end_and_never_repeated_where_that_is_of_no_use() -> None:
    with talking(*[reply(503, b'{"code":"overloaded","message":"busy"}')] * 9) as talker:
        with Client(talker.url, retries=EAGER) as client, pytest.raises(ApiError):
            client.whoami()
        assert len(talker.requests) == 4
    with talking(*[reply(409, b"{}")] * 9) as talker, Client(talker.url, retries=EAGER) as client:
        with pytest.raises(ApiError):
            client.cancel_run("r")
        assert len(talker.requests) == 1


def test_a_client_that_is_closed_follows_no_more(server) -> None:
    client = Client(server.base_url, ADMIN_KEY)
    run_id = client.create_run(unique("thread")).run_id
    got: list[RunEvent | Gap] = []
    reader = threading.Thread(target=lambda: got.extend(client.follow(run_id)))
    reader.start()
    wait_until(lambda: client.http._busy, "the follower's connection")
    client.close()
    reader.join(60)
    assert not reader.is_alive()


def test_what_is_not_served_yet_is_asked_for_as_agreed() -> None:
    run = b'{"run_id":"r","org_id":"o","thread_id":"t","status":"s","created_at":"c","trace_id":"x","last_seq":1}'
    persona, route = b'{"persona_key":"p","version":"1","agent":"a"}', b'{"route_id":"r","provider":"p","model":"m"}'
    reported = b'{"results":[],"commands":[],"run":{}}'
    asked = [
        (lambda c: c.pause_run("r", "why"), run, "POST /api/v1/runs/r:pause", b'{"reason":"why"}'),
        (lambda c: c.resume_run("r"), run, "POST /api/v1/runs/r:resume", b"{}"),
        (lambda c: c.kill_run("r"), run, "POST /api/v1/runs/r:kill", b"{}"),
        (lambda c: c.retry_run("r"), run, "POST /api/v1/runs/r:retry", b"{}"),
        (lambda c: c.fork_run("r", 3, "a"), run, "POST /api/v1/runs/r:fork", b'{"step_index":3,"agent":"a"}'),
        (
            lambda c: c.report_run("r", "w", 2, events=[{}], lease_seconds=60),
            reported,
            "POST /api/v1/runs/r:report",
            b'{"worker_id":"w","lease_epoch":2,"events":[{}],"lease_seconds":60}',
        ),
        (
            lambda c: c.create_persona("p", "1", "a", instructions="i"),
            persona,
            "POST /api/v1/personas",
            b'{"persona_key":"p","version":"1","agent":"a","instructions":"i"}',
        ),
        (lambda c: c.get_persona("p@1"), persona, "GET /api/v1/personas/p%401", b""),
        (
            lambda c: c.create_route("r", "p", "m", key_env="KEY"),
            route,
            "POST /api/v1/routes",
            b'{"route_id":"r","provider":"p","model":"m","key_env":"KEY"}',
        ),
        (lambda c: c.get_route("r"), route, "GET /api/v1/routes/r", b""),
    ]
    with talking(*[reply(200, said) for _, said, _, _ in asked]) as talker, Client(talker.url) as client:
        for (act, _, line, sent), number in zip(asked, range(len(asked)), strict=True):
            act(client)
            head, body = talker.requests[number]
            assert head.startswith(f"{line} HTTP/1.1"), line
            assert body == sent


def test_lists_of_registries_are_walked() -> None:
    first = b'{"data":[{"persona_key":"p","version":"1","agent":"a"}],"next":"c"}'
    last = b'{"data":[{"persona_key":"p","version":"2","agent":"a"}],"next":null}'
    routes = b'{"data":[{"route_id":"r","provider":"p","model":"m"}],"next":null}'
    with talking(*[reply(200, said) for said in (first, last, routes)]) as talker, Client(talker.url) as client:
        assert [one.version for one in client.list_personas()] == ["1", "2"]
        assert [one.route_id for one in client.list_routes()] == ["r"]
        assert talker.requests[1][0].startswith("GET /api/v1/personas?limit=200&cursor=c ")


def test_a_wrong_address_or_key_is_refused_at_once(tmp_path: Path) -> None:
    assert inspect.signature(Client).parameters["url"].default is None
    with pytest.raises(ValueError):
        Client("not a url", "k")
    with pytest.raises(ValueError):
        Client("http://h", "a\nb")
    with talking(reply() + CLOSE) as talker, Client(talker.url, retries=Retries(attempts=1)) as client:
        talker.replies.clear()
        with pytest.raises(Unreachable):
            client.cancel_run("r")


def test_closing_a_client_ends_its_pause_between_two_tries() -> None:
    pausing, ends = threading.Event(), []

    class Patient(Retries):
        """Would wait for ten minutes, and says when it begins to."""

        def pause_s(self, tried: int, error: SdkError) -> float | None:
            pausing.set()
            return 600.0

    def ask() -> None:
        with pytest.raises(ApiError) as found:
            client.get_run(NOBODY)
        ends.append(found.value.status)

    with talking(reply(503, b"{}")) as talker:
        client = Client(talker.url, "k", retries=Patient())
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        assert pausing.wait(60)
        client.close()
        asking.join(60)
    assert ends == [503]
