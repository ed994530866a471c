"""What a worker asks of its server: runs to claim, reports on them, giving them back. One exchange a call.

Nothing is tried twice here: whether a second try makes sense depends on what is left of a lease.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from towerlog.sdk.wire.async_http import AsyncHttp, Response
from towerlog.sdk.wire.errors import ApiError, BadAnswer

CLAIM = "/api/agents/runs/claim"
WORKERS = "/api/agents/workers"
SLACK_S = 10.0
"""How much longer than it was asked to wait a server may take."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Holder:
    """Who holds a run, as every report says it."""

    run_id: str
    worker_id: str
    lease_epoch: int
    client_id: str


class LaneApi:
    """One worker's exchanges with its server."""

    def __init__(self, http: AsyncHttp, worker_id: str, lease_seconds: int) -> None:
        """Connects to nothing yet."""
        self._http = http
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds

    async def claim(self, agents: Sequence[str], labels: Mapping[str, str], wait_seconds: int) -> Json | None:
        """A run under its lease, or None. Raises ApiError, Unreachable."""
        body = {**self._mine(), "agents": list(agents), "labels": dict(labels), "wait_seconds": wait_seconds}
        reply = await self._post(CLAIM, _encoded(body), wait_seconds + SLACK_S)
        return None if reply.status == 204 else _object(reply)

    async def claim_again(self, run_id: str) -> Json:
        """A run that this worker holds already; renews it. Raises ApiError, Unreachable."""
        return _object(await self._post(f"/api/agents/runs/{run_id}/claim", _encoded(self._mine()), SLACK_S))

    async def held(self) -> list[str]:
        """The runs that the server believes this worker to hold. Raises ApiError, Unreachable."""
        reply = await self._http.request("GET", f"{WORKERS}?worker_id={quote(self._worker_id)}", timeout_s=SLACK_S)
        found = _object(_accepted(reply)).get("data", [])
        return [run_id for worker in found if worker["worker_id"] == self._worker_id for run_id in worker["runs"]]

    async def report(self, holder: Holder, events: Sequence[bytes], wait_seconds: int, timeout_s: float) -> Json:
        """Renews the lease and hands over encoded events. Raises ApiError, Unreachable."""
        members = {
            "worker_id": holder.worker_id,
            "lease_epoch": holder.lease_epoch,
            "lease_seconds": self._lease_seconds,
            "client_id": holder.client_id,
            "wait_seconds": wait_seconds,
        }
        body = _encoded(members)[:-1] + b',"events":[' + b",".join(events) + b"]}"
        return _object(await self._post(f"/api/v1/runs/{holder.run_id}:report", body, timeout_s))

    async def release(self, holder: Holder) -> None:
        """Gives the run back to the queue. Raises ApiError, Unreachable."""
        body = {"worker_id": holder.worker_id, "lease_epoch": holder.lease_epoch}
        await self._post(f"/api/agents/runs/{holder.run_id}/release", _encoded(body), SLACK_S)

    def _mine(self) -> Json:
        return {"worker_id": self._worker_id, "lease_seconds": self._lease_seconds}

    async def _post(self, path: str, body: bytes, timeout_s: float) -> Response:
        headers = {"Content-Type": "application/json"}
        return _accepted(await self._http.request("POST", path, body, headers, timeout_s=timeout_s))


def _encoded(members: Json) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _object(reply: Response) -> Json:
    try:
        found = json.loads(reply.body)
    except ValueError:
        raise BadAnswer("the reply is not JSON") from None
    if not isinstance(found, dict):
        raise BadAnswer("the reply is not a JSON object")
    return found


def _accepted(reply: Response) -> Response:
    """The reply, if it says yes. Raises ApiError with the words of whichever dialect has said no."""
    if reply.status < 300:
        return reply
    try:
        told = json.loads(reply.body)
    except ValueError:
        told = None
    told = told if isinstance(told, dict) else {}
    error = told.get("error")
    inner = error if isinstance(error, dict) else told
    code = str(inner.get("code") or reply.status).lower()
    message = inner.get("message") or inner.get("detail") or (error if isinstance(error, str) else None)
    raise ApiError(reply.status, code, str(message or "the server has refused"), retry_after=reply.retry_after_s)
