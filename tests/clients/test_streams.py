"""A run's stream as clients of others read it: each event once, an end that is one, a shutdown that is none.

curl and clients of Python are in the quick tier; npm's `eventsource` and `@microsoft/fetch-event-source`, Chromium and
nginx in the slow one. `tools.py` says where they come from.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
import requests
import sseclient

from tests.acceptance.feeds import complete, create_run, held_run, report
from tests.clients.proxy import nginx_before, wire_that_breaks
from tests.clients.sightings import Sightings, chromium, npm_client, page_server
from tests.clients.tools import program
from tests.support.server import ADMIN_KEY, Server

HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}
LIBRARIES = ["eventsource", "fetch-event-source"]
BROKEN_OFF = 18
"""curl's exit code for a reply that is not whole."""
RESET = 56
"""curl's exit code for a connection that was reset."""


@contextmanager
def curl(url: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """curl on a stream."""
    command = [program("curl"), "-sSN", "-H", f"Authorization: Bearer {ADMIN_KEY}", *options, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        try:
            yield process
        finally:
            process.kill()


def rest(process: subprocess.Popen[bytes]) -> tuple[bytes, int]:
    """What a curl that ends by itself has printed, and its exit code."""
    out, _ = process.communicate(timeout=60)
    return out, process.returncode


def begun(process: subprocess.Popen[bytes]) -> bytes:
    """What came up to the first event, which has to be there before anything else happens."""
    assert process.stdout is not None
    text = b""
    while b"data: " not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
    return text


def told(client: Any, run_id: str) -> None:
    """Three pieces of text."""
    pieces = [{"type": "message.delta", "payload": {"content": text}} for text in "abc"]
    report(client, run_id, "w", *pieces)


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_curl_reads_a_run_to_its_end(fresh_server, version: str) -> None:
    server: Server = fresh_server()
    client = server.client()
    run_id = held_run(client, "t", "w")
    with curl(f"{server.base_url}/v1/runs/{run_id}/events", version) as process:
        text = begun(process)
        told(client, run_id)
        complete(client, run_id, "w")
        out, code = rest(process)
    assert code == 0, "the end of the run is the end of a whole reply"
    lines = (text + out).decode().splitlines()
    assert [line for line in lines if line.startswith("id:")] == [f"id: {seq}" for seq in range(1, 8)]
    assert lines[-3:] == ["event: end", 'data: {"status":"completed","last_seq":7}', ""]


@pytest.mark.parametrize(("version", "codes"), [("--http1.1", {BROKEN_OFF}), ("--http1.0", {BROKEN_OFF, RESET})])
def test_curl_can_tell_a_shutdown_from_an_end(fresh_server, version: str, codes: set[int]) -> None:
    server: Server = fresh_server()
    run_id = create_run(server.client(), "t")["run_id"]
    with curl(f"{server.base_url}/v1/runs/{run_id}/events", version) as process:
        begun(process)
        server.stop()
        out, code = rest(process)
    assert code in codes
    assert b"event: end" not in out
    assert "ASGI" not in server.log


def test_httpx_sse_reads_a_run_to_its_end(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    run_id = held_run(client, "t", "w")
    seqs: list[int] = []
    path = f"{server.base_url}/v1/runs/{run_id}/events"
    with (
        httpx.Client(headers=HEADERS, trust_env=False, timeout=60) as reader,
        httpx_sse.connect_sse(reader, "GET", path) as source,
    ):
        for event in source.iter_sse():
            if event.event == "end":
                assert event.json() == {"status": "completed", "last_seq": 7}
                assert event.id == "7", "an id is kept until there is another, and `end` has none"
            else:
                assert event.event == "message"
                seqs.append(event.json()["seq"])
                if seqs == [1]:
                    told(client, run_id)
                    complete(client, run_id, "w")
    assert seqs == list(range(1, 8))


def test_httpx_sse_can_tell_a_shutdown_from_an_end(fresh_server) -> None:
    server: Server = fresh_server()
    run_id = create_run(server.client(), "t")["run_id"]
    path = f"{server.base_url}/v1/runs/{run_id}/events"
    with (
        httpx.Client(headers=HEADERS, trust_env=False, timeout=60) as reader,
        httpx_sse.connect_sse(reader, "GET", path) as source,
    ):
        events = source.iter_sse()
        assert next(events).json()["seq"] == 1
        server.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            next(events)


def asked(url: str) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    return session.get(url, headers=HEADERS, stream=True, timeout=60)


def lines_of_requests(url: str) -> Iterable[str]:
    with asked(url) as reply:
        yield from reply.iter_lines(decode_unicode=True)


def text_of_requests(url: str) -> Iterable[str]:
    return asked(url).text.splitlines()


def lines_of_httpx(url: str) -> Iterable[str]:
    with httpx.stream("GET", url, headers=HEADERS, trust_env=False, timeout=60) as reply:
        yield from reply.iter_lines()


def lines_of_sseclient(url: str) -> Iterable[str]:
    with asked(url) as reply:
        for event in sseclient.SSEClient(reply).events():
            yield f"data: {event.data}"


@pytest.mark.parametrize("lines", [lines_of_requests, text_of_requests, lines_of_httpx, lines_of_sseclient])
def test_text_of_any_script_is_read_whole(fresh_server, lines: Callable[[str], Iterable[str]]) -> None:
    server: Server = fresh_server()
    client = server.client()
    text = 'naïve Å … хорошо 中文 😀 \u0085 \u2028 \\ "quoted"'
    run_id = held_run(client, "t", "w")
    piece = json.dumps({"content": text}, ensure_ascii=False)
    body = f'{{"worker_id":"w","events":[{{"type":"message.delta","payload":{piece}}}]}}'.encode()
    sent = client.post(f"/api/agents/runs/{run_id}/events", content=body, headers={"Content-Type": "application/json"})
    assert sent.status_code == 200, sent.text
    complete(client, run_id, "w")
    found = lines(f"{server.base_url}/v1/runs/{run_id}/events")
    events = [json.loads(line.removeprefix("data: ")) for line in found if line.startswith("data: ")]
    assert [one["data"]["content"] for one in events if one.get("type") == "message.delta"] == [text]


@pytest.fixture(params=["direct", "nginx"])
def way(request: pytest.FixtureRequest, fresh_server, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server, and the address under which clients know it: its own, or that of an nginx before it."""
    server: Server = fresh_server(TOWERLOG_CORS_ORIGINS="*")
    if request.param == "direct":
        yield server, server.base_url
        return
    with nginx_before(server.port, tmp_path / "nginx") as url:
        yield server, url


def followed_to_its_end(server: Server, run_id: str, seen: Sightings) -> None:
    """A run goes on and ends while a client looks on, which sees each of its events as it happens."""
    client = server.client()
    seen.until("seq", 3)
    told(client, run_id)
    seen.until("seq", 6)
    complete(client, run_id, "w")
    assert seen.until("end") == [{"status": "completed", "last_seq": 7}]
    assert seen.of("seq") == list(range(1, 8))
    assert not seen.of("empty")
    assert not seen.of("error")
    assert len(seen.of("opened")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_of_npm_sees_each_event_once_and_the_end(way: tuple[Server, str], library: str) -> None:
    server, url = way
    run_id = held_run(server.client(), "t", "w")
    with npm_client(library, f"{url}/v1/runs/{run_id}/events", ADMIN_KEY) as seen:
        followed_to_its_end(server, run_id, seen)


@pytest.mark.slow
def test_a_client_that_does_not_know_the_end_is_stopped_at_its_reconnect(way: tuple[Server, str]) -> None:
    server, url = way
    run_id = held_run(server.client(), "t", "w")
    complete(server.client(), run_id, "w")
    with npm_client("eventsource", f"{url}/v1/runs/{run_id}/events?after_seq=1", ADMIN_KEY, "stay") as seen:
        seen.until("closed")
        assert seen.of("opened") == [200, 204]
        assert seen.of("seq") == [2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_an_ended_run_has_an_end_for_who_asks_for_the_first_time(fresh_server, library: str) -> None:
    server: Server = fresh_server()
    run_id = held_run(server.client(), "t", "w")
    complete(server.client(), run_id, "w")
    with npm_client(library, f"{server.base_url}/v1/runs/{run_id}/events?after_seq=4", ADMIN_KEY) as seen:
        assert seen.until("end") == [{"status": "completed", "last_seq": 4}]
        assert seen.of("opened") == [200]
        assert not seen.of("error")


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_of_npm_goes_on_after_a_restart(fresh_server, library: str) -> None:
    server: Server = fresh_server()
    run_id = held_run(server.client(), "t", "w")
    with npm_client(library, f"{server.base_url}/v1/runs/{run_id}/events", ADMIN_KEY) as seen:
        seen.until("seq", 3)
        server.restart()
        told(server.client(), run_id)
        complete(server.client(), run_id, "w")
        assert seen.until("end") == [{"status": "completed", "last_seq": 7}]
        assert seen.of("seq") == list(range(1, 8))
        assert seen.of("opened").count(200) == 2


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_of_npm_gets_the_event_inside_which_its_connection_broke(fresh_server, library: str) -> None:
    server: Server = fresh_server()
    run_id = held_run(server.client(), "t", "w")
    told(server.client(), run_id)
    complete(server.client(), run_id, "w")
    with (
        wire_that_breaks(server.port, b'"seq":5,"type":"message.d') as url,
        npm_client(library, f"{url}/v1/runs/{run_id}/events", ADMIN_KEY) as seen,
    ):
        assert seen.until("end") == [{"status": "completed", "last_seq": 7}]
        assert seen.of("seq") == list(range(1, 8))
        assert seen.of("opened") == [200, 200]


@pytest.mark.slow
def test_a_page_of_another_origin_follows_a_run_in_chromium(way: tuple[Server, str], tmp_path: Path) -> None:
    server, url = way
    run_id = held_run(server.client(), "t", "w")
    with page_server() as (origin, seen):
        address = f"{origin}/?server={url}&run={run_id}&key={ADMIN_KEY}"
        with chromium(address, tmp_path / "profile"):
            followed_to_its_end(server, run_id, seen)


@pytest.mark.slow
def test_a_ticket_opens_one_stream_in_chromium(fresh_server, tmp_path: Path) -> None:
    server: Server = fresh_server(TOWERLOG_CORS_ORIGINS="*")
    run_id = held_run(server.client(), "t", "w")
    complete(server.client(), run_id, "w")
    with page_server() as (origin, seen):
        address = f"{origin}/?server={server.base_url}&run={run_id}&key={ADMIN_KEY}&stay"
        with chromium(address, tmp_path / "profile"):
            seen.until("closed")
            assert seen.of("seq") == [1, 2, 3, 4]
            assert seen.of("end") == [{"status": "completed", "last_seq": 4}]


@pytest.mark.slow
def test_a_shutdown_is_no_end_behind_nginx_either(fresh_server, tmp_path: Path) -> None:
    server: Server = fresh_server()
    run_id = create_run(server.client(), "t")["run_id"]
    with nginx_before(server.port, tmp_path / "nginx") as url, curl(f"{url}/v1/runs/{run_id}/events") as process:
        begun(process)
        server.stop()
        out, code = rest(process)
    assert code == BROKEN_OFF
    assert b"event: end" not in out
