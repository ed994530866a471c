"""What the live scenarios share: one run to follow, the events that are posted into it, and the follower's request."""

import time
from dataclasses import dataclass

from bench.corpus import FILL, compact, padded, post
from bench.ways import event_id
from bench.wire import Client

EVENT_BYTES = 1024


@dataclass(frozen=True)
class LiveRun:
    """A run that is open, by its id and by the name its sender gives it."""

    run_id: str
    sdk_run_id: str
    key: str

    @property
    def path(self) -> str:
        """The stream of what comes from now on; what was stored before it is left out by its seq."""
        return f"/v1/runs/{self.run_id}/events?after_seq=1"

    @property
    def follow_headers(self) -> list[str]:
        """The header lines that a follower needs."""
        return [f"Authorization: Bearer {self.key}"]

    def follow_request(self) -> bytes:
        """A complete request for the stream."""
        lines = [f"GET {self.path} HTTP/1.1", "Host: 127.0.0.1", "Accept: text/event-stream", *self.follow_headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def step(self, number: int) -> bytes:
        """A complete POST of one event, stamped now.

        `mark` is its number; `ts` and the tilde before the closing quote are what fanout looks for.
        """
        payload = {"mark": number, "ts": time.monotonic_ns() // 1000, "output": FILL, "end": "~"}
        event = {"event_type": "step", "sdk_run_id": self.sdk_run_id, "event_id": event_id(number), "payload": payload}
        return post("/api/ingest", padded(event, number, EVENT_BYTES), self.key)


def open_run(client: Client, key: str, name: str = "live") -> LiveRun:
    """Start a run by its own dialect and find the id that the server gave it."""
    start = {"event_type": "run_start", "sdk_run_id": name, "agent_name": "live", "payload": {}}
    client.post("/api/ingest", compact(start))
    newest = client.get("/v1/runs?limit=1").json()[0]
    return LiveRun(newest["run_id"], name, key)
