"""Senders, followers and workers of several nodes, who go on whatever happens, and what they must find in the end."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from typing import Any

import httpx2

from tests.support.nodes import Nodes
from tests.support.senders import ingest, sdk_event
from tests.support.server import ADMIN_KEY, Server
from tests.support.sse import EventStream, StreamEnded

Json = dict[str, Any]
CLAIM = "/api/agents/runs/claim"
RETRY_S = 0.1
ANSWER_S = 8.0
"""How long one request may take until its sender tries another node."""
FRAME_S = 3.0
"""How long a follower waits for a frame until it comes back to another node."""


class Load:
    """What runs beside faults, until `stop`."""

    def __init__(self, nodes: Nodes, seed: int, runs: int = 4, workers: int = 2) -> None:
        self.nodes = nodes
        self.acked: dict[str, list[str]] = {f"run-{seed}-{number}": [] for number in range(runs)}
        self.seen: dict[str, list[int]] = {}
        self.reconnects = 0
        self.holders: list[tuple[str, int, str]] = []
        """(run, epoch, worker) of each claim that was answered."""
        self.faults: list[str] = []
        self.run_ids: dict[str, str] = {}
        self._seed = seed
        self._halt = threading.Event()
        self._is_over = threading.Event()
        self._sending = [self._thread(self._send, run) for run in self.acked]
        self._working = [self._thread(self._work, f"w{number}") for number in range(workers)]
        self._following: list[threading.Thread] = []

    def _thread(self, target: Any, *args: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                target(*args)
            except BaseException as error:
                self.faults.append(f"{target.__name__} {args}: {error!r}")

        return threading.Thread(target=guarded, daemon=True)

    def start(self) -> Load:
        """All of it; returns when each run has something."""
        for thread in (*self._sending, *self._working):
            thread.start()
        for run in self.acked:
            self._find(run)
            follower = self._thread(self._follow, run)
            self._following.append(follower)
            follower.start()
        return self

    def _find(self, run: str) -> None:
        chance = random.Random(run)
        while run not in self.run_ids:
            with contextlib.suppress(httpx2.TransportError), self._client(chance) as client:
                rows = client.get("/api/v1/runs", params={"thread_id": run}).json().get("data", [])
                self.run_ids.update({row["thread_id"]: row["run_id"] for row in rows})

    def _client(self, chance: random.Random) -> httpx2.Client:
        server: Server = chance.choice(self.nodes.servers)
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        return httpx2.Client(base_url=server.base_url, headers=headers, timeout=ANSWER_S, trust_env=False, verify=False)

    def _ask(self, chance: random.Random, asking: Any) -> httpx2.Response:
        """Asks one node after the other until one answers; 5xx and a lost connection are no answer."""
        while True:
            with contextlib.suppress(httpx2.TransportError), self._client(chance) as client:
                reply: httpx2.Response = asking(client)
                if reply.status_code < 500:
                    return reply
            self._halt.wait(RETRY_S)

    def _send(self, run: str) -> None:
        chance = random.Random(run)
        for number in itertools.count():
            if self._halt.is_set():
                return
            event = sdk_event("step", run, {"n": number}, event_id=f"{run}-{number}")
            reply = self._ask(chance, lambda client, event=event: ingest(client, event))
            assert reply.status_code == 200, reply.text
            self.acked[run].append(f"{run}-{number}")

    def _follow(self, run: str) -> None:
        chance = random.Random(f"f{run}")
        seen = self.seen[run] = []
        while not self._is_over.is_set():
            server = chance.choice(self.nodes.servers)
            headers = {"Authorization": f"Bearer {ADMIN_KEY}", **({"Last-Event-ID": str(seen[-1])} if seen else {})}
            url = f"{server.base_url}/v1/runs/{self.run_ids[run]}/events"
            with contextlib.suppress(OSError, StreamEnded), EventStream(url, headers, ANSWER_S) as stream:
                if stream.status != 200:
                    continue
                self.reconnects += 1
                for _ in range(chance.randrange(3, 15)):
                    frame = stream.next_event(FRAME_S)
                    seen.append(frame.json["seq"])
            self._is_over.wait(RETRY_S)

    def _work(self, worker: str) -> None:
        chance = random.Random(worker)
        for number in itertools.count():
            if self._halt.is_set():
                return
            thread = f"{worker}-{self._seed}-{number}"
            self._ask(chance, lambda client, thread=thread: client.post(f"/v1/threads/{thread}/runs"))
            reply = self._ask(chance, lambda client: client.post(CLAIM, json={"worker_id": worker, "lease_seconds": 2}))
            if reply.status_code == 200:
                run = reply.json()["run"]
                self.holders.append((run["id"], run["lease_epoch"], worker))
                end = f"/api/agents/runs/{run['id']}/complete"
                self._ask(chance, lambda client, end=end: client.post(end, json={"worker_id": worker}))

    def acked_count(self) -> int:
        """How many events were acknowledged."""
        return sum(map(len, self.acked.values()))

    def wait_for_more(self, deadline_s: float, cause: str) -> float:
        """Until each run has events that were sent after now; how long that took."""
        began = time.monotonic()
        ends_at = began + deadline_s
        before = {run: len(ids) for run, ids in self.acked.items()}
        while any(len(ids) < before[run] + 2 for run, ids in self.acked.items()):
            assert time.monotonic() < ends_at, f"nothing is taken in any more after {cause}"
            self._halt.wait(0.02)
        return time.monotonic() - began

    def stop(self) -> None:
        """Sends no more; followers go on to the end of what was sent."""
        self._halt.set()
        for thread in (*self._sending, *self._working):
            thread.join(60)

    def check(self) -> None:
        """Nothing acknowledged is lost or there twice, nobody followed a gap, and no lease had two holders."""
        self.stop()
        assert not self.faults, self.faults
        with httpx2.Client(
            base_url=self.nodes.servers[0].base_url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=60
        ) as client:
            logs = {run: log_of(client, run_id) for run, run_id in self.run_ids.items()}
        deadline = time.monotonic() + 60
        while any(len(self.seen[run]) < len(log) for run, log in logs.items()) and time.monotonic() < deadline:
            self._is_over.wait(0.05)
        self._is_over.set()
        for thread in self._following:
            thread.join(60)
        for run, log in logs.items():
            ids = Counter(event.get("event_id") for event in log)
            wrong = [(one, ids[one]) for one in self.acked[run] if ids[one] != 1]
            assert wrong == [], f"{run}: lost or there twice: {wrong[:5]} of {len(wrong)}, {len(log)} events in the log"
            assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
            gaps = [(a, b) for a, b in itertools.pairwise([0, *self.seen[run]]) if b != a + 1]
            assert gaps == [], f"{run}: its follower saw a gap: {gaps[:5]} of {len(gaps)}"
            assert len(self.seen[run]) == len(log), f"{run}: its follower is behind"
        epochs = Counter((run, epoch) for run, epoch, _ in self.holders)
        assert [one for one, count in epochs.items() if count > 1] == [], "a lease had two holders"


def log_of(client: httpx2.Client, run_id: str) -> list[Json]:
    """All events of a run."""
    found: list[Json] = []
    while True:
        query = {"limit": 1000, "after_seq": len(found)}
        page = client.get(f"/api/v1/runs/{run_id}/events", params=query).raise_for_status().json()["data"]
        found += page
        if len(page) < 1000:
            return found
