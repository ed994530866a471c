"""What everybody else sees of a run: read back through `runs`, `activity` and the list of agents, never from inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2

from tests.support.sse import parse_frames

Json = dict[str, Any]


class ReadBack:
    """The reading half of a test, bound to one client (and so to one organisation)."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client

    def runs(self, **filters: Any) -> list[Json]:
        """The rows of `GET /v1/runs` that match, newest first."""
        rows: list[Json] = self._json("/v1/runs", **filters)
        return rows

    def run(self, thread_id: str) -> Json:
        """The row of the only run of a thread (a run without a thread has one named after its own foreign id)."""
        rows = self.runs(thread_id=thread_id)
        assert len(rows) == 1, f"{len(rows)} runs in thread {thread_id}: {rows}"
        return rows[0]

    def status(self, thread_id: str) -> str:
        """The status word of the only run of a thread."""
        return str(self.run(thread_id)["status"])

    def detail(self, run_id: str) -> Json:
        """All that `GET /v1/runs/{run_id}` knows."""
        known: Json = self._json(f"/v1/runs/{run_id}")
        return known

    def events(self, thread_id: str) -> list[Json]:
        """The events of the only run of a thread, oldest first, as its followers get them; seq must be dense."""
        return self.events_of(self.run(thread_id)["run_id"])

    def events_of(self, run_id: str) -> list[Json]:
        """The events of a run, oldest first, as its followers get them; seq must be dense."""
        reply = self.client.get(f"/v1/runs/{run_id}/events", params={"follow": "false"})
        assert reply.status_code == 200, reply.text
        events = [one.json for one in parse_frames(reply.content) if one.data is not None and one.event != "end"]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        return events

    def types(self, thread_id: str) -> list[str]:
        """The types of the events of the only run of a thread, oldest first."""
        return [str(event["type"]) for event in self.events(thread_id)]

    def latest(self, thread_id: str, prefix: str = "") -> httpx2.Response:
        """The reply of `latest` for a thread."""
        return self.client.get(f"{prefix}/v1/runners/threads/{quote(thread_id, safe='')}/latest")

    def state(self, thread_id: str) -> Json:
        """What `latest` answers for a thread that has a checkpoint."""
        reply = self.latest(thread_id)
        assert reply.status_code == 200, reply.text
        state: Json = reply.json()
        return state

    def agents(self) -> Iterator[Json]:
        """Every agent of the organisation, page after page."""
        cursor: Json = {}
        while True:
            page = self._json("/api/v1/agents", limit=200, **cursor)
            yield from page["data"]
            if page["next"] is None:
                return
            cursor = {"cursor": page["next"]}

    def agent_id(self, name: str) -> str:
        """The UUID of the agent of this name, which must be registered, once."""
        found = [agent["agent_id"] for agent in self.agents() if agent["name"] == name]
        assert len(found) == 1, f"{len(found)} agents are called {name}"
        return str(found[0])

    def activity(self, agent_id: str, **query: Any) -> list[Json]:
        """The activity of an agent as a JSON array, oldest first."""
        listed: list[Json] = self._json(f"/agents/{agent_id}/events", **query)
        return listed

    def _json(self, path: str, **query: Any) -> Any:
        reply = self.client.get(path, params=query)
        assert reply.status_code == 200, f"GET {path} {query}: {reply.status_code} {reply.text}"
        return reply.json()
