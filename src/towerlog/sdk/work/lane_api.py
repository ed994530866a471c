"""The requests of a worker: claim, report, release. One request per call.

Nothing is retried here: whether to retry depends on what is left of the lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towerlog.sdk.api.requests import path_of, with_query
from towerlog.sdk.wire.address import MAX_HISTORY_BYTES, MAX_RESPONSE_BYTES, Response, Url
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.errors import BadAnswer
from towerlog.sdk.wire.event_batch import HEADERS, json_bytes, with_events
from towerlog.sdk.wire.refusals import accepted, object_of, understood

CLAIM = "/api/agents/runs/claim"
WORKERS = "/api/agents/workers"
SLACK_S = 10.0
"""How much longer than the requested wait a reply may take."""

CLAIM_SLACK_S = 60.0
"""The same for a claim, whose reply may hold a whole conversation."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Holder:
    """The holder of a lease, as every report names it."""

    run_id: str
    worker_id: str
    lease_epoch: int
    client_id: str


class LaneApi:
    """The requests of one worker."""

    def __init__(self, http: AsyncHttp, worker_id: str, lease_seconds: int) -> None:
        """Connects to nothing yet."""
        self._http = http
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds

    @property
    def url(self) -> str:
        """The address of the server."""
        return str(self._http.address)

    @property
    def access(self) -> tuple[Url, str | None]:
        """The server and the worker's key."""
        return self._http.access

    async def claim(self, agents: Sequence[str], labels: Mapping[str, str], wait_seconds: int) -> Json | None:
        """Claims a run; None if there is none. Raises ApiError, Unreachable."""
        body = {**self._mine(), "agents": list(agents), "labels": dict(labels), "wait_seconds": wait_seconds}
        reply = await self._post(CLAIM, json_bytes(body), wait_seconds + CLAIM_SLACK_S, MAX_HISTORY_BYTES)
        return None if reply.status == 204 else _claimed(reply)

    async def claim_again(self, run_id: str) -> Json:
        """Claims a run that this worker holds already, which renews its lease. Raises ApiError, Unreachable."""
        path = path_of("/api/agents/runs/{run_id}/claim", {"run_id": run_id})
        return _claimed(await self._post(path, json_bytes(self._mine()), CLAIM_SLACK_S, MAX_HISTORY_BYTES))

    async def held(self) -> list[str]:
        """The runs that this worker holds by the server's records. Raises ApiError, Unreachable."""
        reply = await self._http.request("GET", with_query(WORKERS, {"worker_id": self._worker_id}), timeout_s=SLACK_S)
        found = object_of(reply).get("data", [])
        mine = understood(
            lambda: [run_id for worker in found if worker["worker_id"] == self._worker_id for run_id in worker["runs"]]
        )
        if not all(map(_is_id, mine)):
            raise BadAnswer("the server's reply names runs by something else than text")
        return mine

    async def report(self, holder: Holder, events: Sequence[bytes], wait_seconds: int, timeout_s: float) -> Json:
        """Renews the lease and sends encoded events. Raises ApiError, Unreachable."""
        members = {
            "worker_id": holder.worker_id,
            "lease_epoch": holder.lease_epoch,
            "lease_seconds": self._lease_seconds,
            "client_id": holder.client_id,
            "wait_seconds": wait_seconds,
        }
        body = with_events(members, events)
        path = path_of("/api/v1/runs/{run_id}:report", {"run_id": holder.run_id})
        return _reported(await self._post(path, body, timeout_s))

    async def release(self, holder: Holder) -> None:
        """Releases the run to the queue. Raises ApiError, Unreachable."""
        body = {"worker_id": holder.worker_id, "lease_epoch": holder.lease_epoch}
        path = path_of("/api/agents/runs/{run_id}/release", {"run_id": holder.run_id})
        await self._post(path, json_bytes(body), SLACK_S)

    def _mine(self) -> Json:
        return {"worker_id": self._worker_id, "lease_seconds": self._lease_seconds}

    async def _post(self, path: str, body: bytes, timeout_s: float, bytes_max: int = MAX_RESPONSE_BYTES) -> Response:
        return accepted(await self._http.request("POST", path, body, HEADERS, timeout_s, bytes_max))


_CLAIMED: Mapping[str, type] = {
    "persona": dict, "route": dict, "checkpoint": dict, "thread_history": list, "commands": list,
    "thread_id": str, "role": str,
}  # fmt: skip
"""Members of a claim that a worker looks into."""


def _claimed(reply: Response) -> Json:
    """The reply to a claim, if it has what a worker cannot do without. Raises ApiError, BadAnswer."""
    said = object_of(reply)
    run = said.get("run")
    if not isinstance(run, dict) or not _is_id(run.get("id")) or type(run.get("lease_epoch")) is not int:
        raise BadAnswer("the server's reply to a claim names no run and no epoch")
    known = {**said, **run}
    for name, kind in _CLAIMED.items():
        if known.get(name) is not None and not isinstance(known[name], kind):
            raise BadAnswer(f"the server's reply to a claim has another {name} than a {kind.__name__}")
    agent = (said.get("persona") or {}).get("agent")
    if agent is not None and not isinstance(agent, str):
        raise BadAnswer("the server's reply to a claim names the agent by something else than text")
    return said


def _reported(reply: Response) -> Json:
    """The reply to a report, each command of which has an id and a type. Raises ApiError, BadAnswer."""
    said = object_of(reply)
    results, commands = said.get("results", []), said.get("commands", [])
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise BadAnswer("the server's reply to a report has other results than objects")
    if not isinstance(commands, list) or not all(map(_is_command, commands)):
        raise BadAnswer("the server's reply to a report has commands without an id or a type")
    return said


def _is_id(one: object) -> bool:
    return isinstance(one, str) and one != ""


def _is_command(one: object) -> bool:
    return isinstance(one, dict) and type(one.get("command_id")) is int and isinstance(one.get("type"), str)
