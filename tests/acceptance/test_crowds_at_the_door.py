"""Crowds that sign in, and members that come and go: beside them another organisation posts, and memory is bounded."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import ok
from tests.support.figures import no_block
from tests.support.samples import first
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until

MAX_MORE_BYTES = 200 * 1024 * 1024
MAX_BYTES = 400 * 1024 * 1024
"""What the server may take: more than before the crowd, and in all."""
SIGN_IN, BEGIN = "/api/v1/sign-in", "/api/v1/sign-in/provider"
LARGE = b'{"id_token":"' + b"x" * 10 * 1024 * 1024 + b'"}'
log = logging.getLogger("figures")
"""What was measured: `pytest -o log_cli=true --log-cli-level=INFO`."""


class Caller:
    """One of a crowd, at an address of its own."""

    def __init__(self, server: Server, number: int) -> None:
        self.server, self.number = server, number
        self.address = f"127.1.{number // 200}.{number % 200 + 1}"

    def ask(self, method: str, path: str, body: Any = None, cookie: str = "") -> tuple[int, dict[str, str]]:
        """The status and the heads of the answer."""
        url = httpx2.URL(self.server.base_url)
        connection = HTTPConnection(str(url.host), url.port, timeout=120, source_address=(self.address, 0))
        sent = {"Origin": self.server.base_url, "X-Towerlog-Request": "1", "Content-Type": "application/json"}
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, sent | ({"Cookie": cookie} if cookie else {}))
            reply = connection.getresponse()
            reply.read()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}
        finally:
            connection.close()


def guess(caller: Caller) -> int:
    """A wrong password."""
    return caller.ask("POST", SIGN_IN, {"user": f"member {caller.number}", "password": "a guess that is wrong"})[0]


def come_back(caller: Caller) -> int:
    """The way to the provider and back."""
    status, heads = caller.ask("GET", BEGIN)
    if status != 303 or "state=" not in heads["location"]:
        return status
    state = heads["location"].partition("state=")[2].partition("&")[0]
    cookie = heads["set-cookie"].partition(";")[0]
    return caller.ask("GET", f"{BEGIN}/callback?code=c&state={state}", cookie=cookie)[0]


@contextmanager
def odd_provider(answer: bytes, wait_s: float) -> Iterator[str]:
    """A provider that takes its time for the tokens, or answers with a flood."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            at = f"http://localhost:{self.server.server_address[1]}"
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            self._say(json.dumps({"issuer": at, **{name: f"{at}/{path}" for name, path in names.items()}}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            threading.Event().wait(wait_s)
            self._say(answer)

        def _say(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # whoever had enough of the answer is gone
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the name is http.server's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}"
        server.shutdown()


class Neighbour:
    """Another organisation, whose agent goes on posting."""

    def __init__(self, server: Server) -> None:
        self.client = server.client(server.make_org("neighbour")[1])
        self.sent = 0

    def post(self, count: int) -> list[float]:
        """How long each event took, in ms."""
        found = []
        for _ in range(count):
            began = time.monotonic()
            ok(ingest(self.client, sdk_event("run_start", f"r{self.sent}", {}, agent_name="writer")))
            found.append((time.monotonic() - began) * 1000)
            self.sent += 1
        return found


def beside(server: Server, acts: list[Callable[[], int]], at_once: int) -> Any:
    """What became of the acts of a crowd, while a neighbour posts; its events are all there, and memory is bounded."""
    neighbour = Neighbour(server)
    alone, before, most = neighbour.post(30), server.resident_bytes(), 0
    crowded: list[float] = []
    with no_block(server, "a crowd at the door"), ThreadPoolExecutor(at_once) as pool:
        under_way = [pool.submit(act) for act in acts]
        while not all(one.done() for one in under_way):
            crowded += neighbour.post(5)
            most = max(most, server.resident_bytes())
        became = Counter(one.result() for one in under_way)
    ranks = {name: _ranks(waits) for name, waits in (("alone", alone), ("crowded", crowded))}
    log.info("ms of the neighbour: %s; MiB: %d, at most %d; %s", ranks, before >> 20, most >> 20, dict(became))
    assert most - before <= MAX_MORE_BYTES
    assert most <= MAX_BYTES
    runs = {one["thread_id"] for one in pages(neighbour.client)}
    assert len(runs) == neighbour.sent
    return became


def _ranks(waits: list[float]) -> tuple[int, int]:
    """The median and the 99th percentile."""
    found = sorted(waits)
    return round(found[len(found) // 2]), round(found[len(found) * 99 // 100])


def pages(client: httpx2.Client) -> list[dict[str, Any]]:
    """All runs."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ok(client.get("/api/v1/runs", params={"limit": 200} | ({"cursor": cursor} if cursor else {})))
        found, cursor = found + page["data"], page["next"]
    return found


CROWDS = [(30, 1), pytest.param(200, 5, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("callers", "times"), CROWDS)
def test_wrong_passwords(tmp_path, callers: int, times: int) -> None:
    """As many as want to are told to come again, or that the password is wrong; nobody gets in."""
    with Server(tmp_path / "data", NO_LIMITS) as server:
        crowd = [Caller(server, number) for number in range(callers)] * times
        became = beside(server, [lambda one=one: guess(one) for one in crowd], callers)
        assert set(became) <= {401, 429, 503}
        assert became[401] > 0
        assert "Traceback" not in server.log


@pytest.mark.parametrize(("callers", "times"), CROWDS)
@pytest.mark.parametrize(
    ("answer", "wait_s"), first([pytest.param(LARGE, 0.0, id="large"), pytest.param(b"{}", 1.0, id="slow")])
)
def test_a_provider_that_is_no_help(tmp_path, callers: int, times: int, answer: bytes, wait_s: float) -> None:
    with odd_provider(answer, wait_s) as issuer:
        env = {**NO_LIMITS, "TOWERLOG_OIDC_ISSUER": issuer, "TOWERLOG_OIDC_CLIENT_ID": "towerlog"}
        with Server(tmp_path / "data", env) as server:
            crowd = [Caller(server, number) for number in range(callers)] * times
            became = beside(server, [lambda one=one: come_back(one) for one in crowd], callers)
            assert set(became) <= {303, 429, 503}
            assert became[303] > 0
            assert "Traceback" not in server.log


@pytest.mark.parametrize("members", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_members_who_come_and_go(tmp_path, members: int) -> None:
    with Server(tmp_path / "data", NO_LIMITS) as server:
        admin = server.client()

        def come_and_go(number: int) -> int:
            made = admin.post("/api/v1/members", json={"name": f"member {number}", "role": "viewer"})
            admin.post("/api/v1/sign-in-links", json={"user_id": made.json()["user_id"]})
            return admin.delete(f"/api/v1/members/{made.json()['user_id']}").status_code

        became = beside(server, [lambda n=n: come_and_go(n) for n in range(members)], 8)
        assert became == {200: members}
        left = wait_until(lambda: ok(admin.get("/api/v1/members")), "the members")
        assert not [one for one in left["data"] if one["name"].startswith("member ")]
