"""Live push over a real server, spoken to over a raw socket: who hears what, who is refused, and how it ends."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import step
from tests.support.figures import metric
from tests.support.pusher import CLOSE, PONG, TEXT, PusherClient, frame
from tests.support.server import ADMIN_KEY, Server
from tests.support.wait import wait_until

ABSENT = "01890000-0000-7000-8000-00000000dead"
REVOKED_DEADLINE_S = 5.0


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., PusherClient]]:
    """Connects to the shared server."""
    with ExitStack() as clients:
        yield lambda *where: clients.enter_context(PusherClient(*(where or (server.base_url,)))).connect()


def user_of(client: httpx2.Client) -> str:
    return str(client.get("/api/v1/whoami").json()["user_id"])


def user_channel(client: httpx2.Client) -> str:
    return f"private-user.{user_of(client)}"


def auth_of(client: httpx2.Client, socket_id: str, channel: str) -> httpx2.Response:
    return client.post("/broadcasting/auth", data={"socket_id": socket_id, "channel_name": channel})


def test_a_client_is_told_where_to_connect(client, scoped) -> None:
    assert scoped("read").get("/api/v1/push").json() == {
        "app_key": "towerlog",
        "path": "/app/{app_key}",
        "auth_endpoint": "/broadcasting/auth",
        "channels": {
            "user": "private-user.{id}", "run": "private-run.{id}", "agent": "private-agent.{id}",
        },
    }  # fmt: skip


def test_a_connection_begins_with_its_id_and_answers_pings(connect, server) -> None:
    with PusherClient(server.base_url) as one:
        _, head = one.shake_hands(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
        assert "sec-websocket-extensions" not in head, "nothing is compressed"
        first = one.message()
        assert first["event"] == "pusher:connection_established"
        assert first["data"]["activity_timeout"] == 120
        one.say("pusher:ping", data={})
        assert one.message()["event"] == "pusher:pong"
        one.send(frame(9, b"there?"))
        assert one.frame() == (PONG, b"there?")
    ids = {connect().socket_id for _ in range(3)}
    assert len(ids) == 3


def test_a_user_hears_all_events_of_all_his_runs_in_order_and_nobody_elses(server, unique, other_org, connect) -> None:
    _, key = server.make_org(unique("mine"))
    mine = server.client(key)
    one, many = connect(), connect()
    assert one.subscribe(mine, user_channel(mine))["event"] == "pusher_internal:subscription_succeeded"
    many.subscribe(mine, user_channel(mine))
    sent = []
    for number in range(40):
        step(other_org, unique("theirs"), "step")
        sent.append(step(mine, f"run-{number % 4}", "step", {"n": number})["event_id"])
    data = {"client_id": "c", "events": [
        {"event_id": f"e{n}", "client_seq": n + 1, "run_key": "batch", "type": "step", "data": {"name": "x"}}
        for n in range(500)
    ]}  # fmt: skip
    assert mine.post("/api/v1/events", json=data).status_code == 200
    for reader in (one, many):
        heard = reader.events(540)
        assert [event["event_id"] for event in heard] == list(range(1, 541))
        assert [event["event_id"] for event in heard[:40]] == sent
        assert [event["payload"] for event in heard[:40]] == [{"n": n} for n in range(40)]
        assert {event["sdk_run_id"] for event in heard} == {"run-0", "run-1", "run-2", "run-3", "batch"}


def test_a_run_and_an_agent_have_channels(client, unique, back, connect) -> None:
    name, agent = unique("sdk"), unique("agent")
    step(client, name, "run_start", agent_name=agent)
    run_id, agent_id = back.run(name)["run_id"], back.agent_id(agent)
    listener = connect()
    for channel in (f"private-run.{run_id}", f"private-agent.{agent_id}"):
        assert listener.subscribe(client, channel)["event"] == "pusher_internal:subscription_succeeded"
    step(client, name, "human_input_requested", {"question": "Go on?"})
    heard = [listener.message() for _ in range(2)]
    assert {one["channel"] for one in heard} == {f"private-run.{run_id}", f"private-agent.{agent_id}"}
    for one in heard:
        assert one["data"]["event_type"] == "human_input_requested"
        assert one["data"]["status"] == "waiting_for_input"
        assert (one["data"]["run_id"], one["data"]["agent_name"]) == (run_id, agent)
    listener.say("pusher:unsubscribe", data={"channel": f"private-run.{run_id}"})
    listener.say("pusher:ping", data={})
    assert listener.message()["event"] == "pusher:pong"
    step(client, name, "run_end")
    assert listener.message()["channel"] == f"private-agent.{agent_id}"


def test_the_status_of_an_event_is_that_after_this_very_event(client, unique, back, connect) -> None:
    name, new = unique("run"), unique("new")
    listener = connect()
    assert listener.subscribe(client, user_channel(client))["event"].endswith("succeeded")

    def tell(run_key: str, *types: str) -> list[str]:
        events = [
            {"event_id": unique("e"), "run_key": run_key, "type": kind, "agent": "a", "data": {"question": "Go on?"}}
            for kind in types
        ]
        told = [one | {"client_seq": index + 1} for index, one in enumerate(events)]
        reply = client.post("/api/v1/events", json={"client_id": unique("c"), "events": told})
        assert [one["status"] for one in reply.json()["results"]] == ["stored"] * len(types), reply.text
        return [listener.message()["data"]["status"] for _ in types]

    assert tell(name, "run.started") == ["running"]
    assert tell(name, "step", "run.waiting_for_input", "step") == ["running", "waiting_for_input", "waiting_for_input"]
    assert tell(new, "run.started", "step", "run.completed") == ["running", "running", "success"]


def test_a_channel_of_anybody_else_is_403(client, other_org, scoped, unique, back, connect) -> None:
    name, agent = unique("sdk"), unique("agent")
    step(client, name, "run_start", agent_name=agent)
    own = [f"private-run.{back.run(name)['run_id']}", f"private-agent.{back.agent_id(agent)}", user_channel(client)]
    assert [auth_of(client, "1.2", channel).status_code for channel in own] == [200] * 3
    nobodys = [f"private-{kind}.{ABSENT}" for kind in ("run", "agent", "user")]
    odd = ["private-x", "presence-user.x", "x", f"user.{user_of(client)}", "private-run." + "9" * 300]
    refused = [auth_of(other_org, "1.2", channel) for channel in (*own, *nobodys, *odd)]
    assert {reply.status_code for reply in refused} == {403}
    assert len({reply.text for reply in refused}) == 1, "a refusal tells nothing of what is there"
    assert auth_of(scoped("ingest"), "1.2", own[0]).status_code == 403
    wrong = [{}, {"socket_id": "1.2"}, {"socket_id": "one", "channel_name": own[0]}, {"channel_name": own[0]}]
    for form in wrong:
        assert client.post("/broadcasting/auth", data=form).status_code == 422
    assert client.post("/broadcasting/auth", json={}).status_code == 415


def test_a_bad_signature_is_told_on_the_channel_and_the_socket_stays(client, server, connect) -> None:
    channel, listener, other = user_channel(client), connect(), connect()
    good = auth_of(client, listener.socket_id, channel).json()["auth"]
    elses = auth_of(client, other.socket_id, channel).json()["auth"]
    wrong = ["", "towerlog:" + "0" * 64, elses, good.upper(), good + "0", "x" + good, "\u00fc"]
    for auth in wrong:
        listener.say("pusher:subscribe", data={"channel": channel, "auth": auth})
        told = listener.message()
        assert (told["event"], told["channel"]) == ("pusher:subscription_error", channel)
        assert told["data"]["type"] == "AuthError"
        assert told["data"]["status"] == 401
    listener.say("pusher:subscribe", data={"channel": "public"})
    assert listener.message()["event"] == "pusher:subscription_error"
    listener.say("pusher:subscribe", data={"channel": channel, "auth": good})
    assert listener.message()["event"] == "pusher_internal:subscription_succeeded"


def test_who_knows_the_secret_alone_subscribes_to_nothing(fresh_server) -> None:
    secret = "a-secret-of-a-setting-that-is-long-enough"
    server: Server = fresh_server(TOWERLOG_PUSH_SECRET=secret, TOWERLOG_PUSH_APP_KEY="mine")
    client = server.client()
    channel = user_channel(client)
    with PusherClient(server.base_url, "/app/mine?protocol=7").connect() as listener:
        text = f"{listener.socket_id}:{channel}".encode()
        auth = "mine:" + hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
        listener.say("pusher:subscribe", data={"channel": channel, "auth": auth})
        assert listener.message()["event"] == "pusher:subscription_error"
        assert auth_of(client, listener.socket_id, channel).json() == {"auth": auth}
        listener.say("pusher:subscribe", data={"channel": channel, "auth": auth})
        assert listener.message()["event"] == "pusher_internal:subscription_succeeded"


def test_the_secret_that_was_made_is_kept(fresh_server) -> None:
    server: Server = fresh_server()
    channel = user_channel(server.client())
    before = auth_of(server.client(), "1.2", channel).json()
    server.restart()
    assert auth_of(server.client(), "1.2", channel).json() == before


@pytest.mark.parametrize(
    ("path", "code"),
    [("/app/nobody", 4001), ("/app/towerlog?protocol=99", 4007), ("/app/towerlog?protocol=x", 4007)],
    ids=["app", "version", "no version"],
)
def test_what_is_wrong_with_the_connection_is_told_in_the_words_of_the_protocol(server, path: str, code: int) -> None:
    with PusherClient(server.base_url, path) as one:
        assert one.shake_hands()[0] == 101
        found, _, said = one.end()
        assert found == code
        assert [(message["event"], message["data"]["code"]) for message in said] == [("pusher:error", code)]


def test_clients_send_no_events(client, connect) -> None:
    listener = connect()
    listener.say("client-typing", channel="private-x", data={})
    assert listener.message()["data"]["code"] == 4301
    for text in (b"no", b"[]", b'{"event":7}', b'{"event":"pusher:signin"}', b"[" * 9000):
        listener.send(frame(TEXT, text))
        told = listener.message()
        assert (told["event"], told["data"]["code"]) == ("pusher:error", None)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Upgrade": None}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Content-Length": "0"}, 400),
        ({"Transfer-Encoding": "chunked"}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 421),
    ],
    ids=["upgrade", "connection", "key", "short key", "version", "length", "coding", "origin", "null", "host"],
)
def test_what_is_no_handshake_is_refused(server, change: dict[str, str | None], status: int) -> None:
    with PusherClient(server.base_url) as one:
        found, head = one.shake_hands(**change)
        assert found == status
        if status in (400, 426):
            assert head["sec-websocket-version"] == "13"


@pytest.mark.parametrize("twice", [{"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}, {"sec-websocket-version": "13"}])
def test_a_handshake_that_says_a_thing_twice_is_refused(server, twice: dict[str, str | None]) -> None:
    with PusherClient(server.base_url) as one:
        assert one.shake_hands(**twice)[0] == 400


def test_pages_connect_from_origins_that_are_named_and_from_our_own(fresh_server) -> None:
    server: Server = fresh_server(TOWERLOG_CORS_ORIGINS="https://app.example.com")
    for origin in ("https://app.example.com", server.base_url):
        with PusherClient(server.base_url) as one:
            assert one.shake_hands(Origin=origin)[0] == 101
    with PusherClient(server.base_url) as one:
        assert one.shake_hands(Origin="https://app.example.org")[0] == 403


def test_what_comes_right_behind_the_handshake_is_heard(server) -> None:
    with PusherClient(server.base_url) as one:
        head = (
            f"GET {one.path} HTTP/1.1\r\nHost: {one.host}\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        one.send(head.encode() + frame(TEXT, b'{"event":"pusher:ping"}'))
        while b"\r\n\r\n" not in one.read_bytes:
            one._more()
        _, _, one.read_bytes = one.read_bytes.partition(b"\r\n\r\n")
        assert [one.message()["event"] for _ in range(2)] == ["pusher:connection_established", "pusher:pong"]


def test_a_request_to_switch_elsewhere_is_an_ordinary_request(server) -> None:
    with PusherClient(server.base_url, "/healthz") as one:
        status, head = one.shake_hands()
        assert (status, head["connection"]) == (200, "close")


def test_a_revoked_key_ends_its_sockets(server, connect) -> None:
    made = server.create_key("read")
    client = server.client(made["key"])
    listener, stays = connect(), connect()
    listener.subscribe(client, user_channel(client))
    stays.subscribe(server.client(), user_channel(server.client()))
    assert server.cli_inside("keys", "revoke", made["key_id"]).returncode == 0
    listener.socket.settimeout(REVOKED_DEADLINE_S)
    code, reason, said = listener.end()
    assert (code, reason) == (4009, "The API key or session that allowed a channel has ended.")
    assert [one["data"]["code"] for one in said if one["event"] == "pusher:error"] == [4009]
    stays.say("pusher:ping", data={})
    wait_until(lambda: stays.message()["event"] == "pusher:pong", "the other key's socket")


def test_a_drain_tells_all_to_connect_again(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    with ExitStack() as stack:
        clients = [stack.enter_context(PusherClient(server.base_url).connect()) for _ in range(3)]
        clients[0].subscribe(client, user_channel(client))
        server.stop()
        for one in clients:
            code, _, said = one.end()
            assert code == 4200
            assert said[-1]["data"]["code"] == 4200


def test_sockets_and_streams_share_their_places(fresh_server) -> None:
    server: Server = fresh_server(TOWERLOG_MAX_STREAMS_PER_KEY="2")
    client = server.client()
    channel = user_channel(client)
    with ExitStack() as stack:

        def one() -> PusherClient:
            return stack.enter_context(PusherClient(server.base_url).connect())

        first, second, third = one(), one(), one()
        assert first.subscribe(client, channel)["event"] == "pusher_internal:subscription_succeeded"
        assert second.subscribe(client, channel)["event"] == "pusher_internal:subscription_succeeded"
        told = third.subscribe(client, channel)
        assert (told["event"], told["data"].get("code")) == ("pusher:error", 4100), "so that it comes back"
        assert third.end()[0] == 4100
        run_id = client.post("/v1/threads/t/runs", json={}).json()["run_id"]
        assert client.get(f"/v1/runs/{run_id}/events").status_code == 503
        first.send(frame(CLOSE, b"\x03\xe8"))
        assert first.end()[0] == 1000
        again = wait_until(lambda: one().subscribe(client, channel)["event"].endswith("succeeded"), "the free place")
        assert again
        # One that had come before the place was free is still being closed.
        wait_until(lambda: metric(server, "towerlog_sockets_open") == 2, "the end of those that found no place")


def test_a_socket_has_so_many_channels(client, unique, back, connect) -> None:
    listener = connect()
    names = []
    for _ in range(101):
        name = unique("many")
        step(client, name, "run_start")
        names.append(f"private-run.{back.run(name)['run_id']}")
    told = [listener.subscribe(client, channel) for channel in names]
    assert [one["event"].rpartition(":")[2] for one in told] == ["subscription_succeeded"] * 100 + [
        "subscription_error"
    ]
    assert told[-1]["data"]["type"] == "LimitReached"


def test_who_takes_nothing_is_dropped_and_delays_nobody(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    channel = user_channel(client)
    with ExitStack() as stack:
        slow = PusherClient(server.base_url)
        # A window of less than one segment is filled a few times a second: what is read at the end would take minutes.
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        stack.enter_context(slow.connect()).subscribe(client, channel)
        fast = stack.enter_context(PusherClient(server.base_url).connect())
        fast.subscribe(client, channel)
        sent = 0
        for number in range(60):
            events: list[dict[str, Any]] = [
                {"event_id": f"{number}-{n}", "client_seq": number * 100 + n + 1, "run_key": "r", "type": "step",
                 "data": {"name": "x" * 8000}}
                for n in range(100)
            ]  # fmt: skip
            assert client.post("/api/v1/events", json={"client_id": "c", "events": events}).status_code == 200
            sent += 100
            assert len(fast.events(100)) == 100
            if metric(server, "towerlog_sockets_dropped_total"):
                break
        assert metric(server, "towerlog_sockets_dropped_total") == 1
        code, _, said = slow.end()
        assert code == 4100
        assert said[-1]["data"]["code"] == 4100
        heard = [one["data"]["event_id"] for one in said if one["event"] == "agent.event"]
        assert heard == list(range(1, len(heard) + 1)), "what it got before was whole and in order"
        assert sent > len(heard)
        assert client.post("/api/ingest", json={"event_type": "step", "sdk_run_id": "x", "payload": {}}).json()
        assert len(fast.events(1)) == 1


def test_the_admins_key_hears_its_own_user_alone(server, client, other_org, connect) -> None:
    assert ADMIN_KEY
    assert auth_of(client, connect().socket_id, user_channel(other_org)).status_code == 403
    assert json.loads(auth_of(client, "1.2", user_channel(client)).text)["auth"].startswith("towerlog:")
