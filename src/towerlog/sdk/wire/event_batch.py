"""One request with events, and what its answer means for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from towerlog.sdk.wire.address import Response

PATH = "/api/v1/events"
HEADERS = {"Content-Type": "application/json"}
WAIT_SLACK_S = 10.0


class Disposition(Enum):
    """What to do with the events that were sent."""

    TAKEN = "each has its own result"
    LATER = "send them again soon"
    REFUSED = "this key, or this server, takes none: send them again, but seldom"
    SMALLER = "too much at once, or one of them is at fault: send fewer"


class Transport(Protocol):
    """What sends: `towerlog.sdk.wire.http.Http`."""

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float | None
    ) -> Response:
        """One exchange. Raises Unreachable."""

    def close(self) -> None:
        """Ends all that is under way."""


@dataclass(frozen=True)
class BatchReply:
    """What came back. `results` are in the order of the events; `words` say what was wrong."""

    disposition: Disposition
    results: list[dict[str, Any]] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    retry_after_s: float | None = None
    words: str = ""


def send_batch(
    http: Transport, client_id: str, lines: Sequence[bytes], runs: Sequence[str], wait_s: int, timeout_s: float
) -> BatchReply:
    """Sends encoded events and asks for what is wanted of `runs`. Raises Unreachable."""
    head: dict[str, Any] = {"client_id": client_id, "runs": list(runs)}
    if wait_s:
        head["wait_seconds"] = wait_s
    text = json.dumps(head, separators=(",", ":")).encode()
    body = b"".join([text[:-1], b',"events":[', b",".join(lines), b"]}"])
    limit_s = timeout_s + (wait_s + WAIT_SLACK_S if wait_s else 0.0)
    return read(http.request("POST", PATH, body, HEADERS, limit_s), len(lines))


def read(response: Response, sent: int) -> BatchReply:
    """The meaning of a reply to so many events."""
    if response.status == 200:
        return _taken(response, sent)
    words = f"HTTP {response.status}{_message(response.body)}"
    if response.status in (400, 413, 422):
        return BatchReply(Disposition.SMALLER, words=words)
    if response.status in (408, 425, 429) or response.status >= 500:
        return BatchReply(Disposition.LATER, retry_after_s=response.retry_after_s, words=words)
    # 401 and 403 above all; and 404 or 405 of something that is no Towerlog, or an older one.
    return BatchReply(Disposition.REFUSED, retry_after_s=response.retry_after_s, words=words)


def _taken(response: Response, sent: int) -> BatchReply:
    try:
        body = json.loads(response.body)
        results, commands = body["results"], body.get("commands") or []
    except (ValueError, KeyError, TypeError, AttributeError):
        return BatchReply(Disposition.LATER, words="the answer is not that of a Towerlog server")
    whole = isinstance(results, list) and len(results) == sent and all(isinstance(each, dict) for each in results)
    if not whole or not isinstance(commands, list):
        return BatchReply(Disposition.LATER, words="the answer does not say of every event what became of it")
    return BatchReply(Disposition.TAKEN, results, [each for each in commands if isinstance(each, dict)])


def _message(body: bytes) -> str:
    """What a refusal says, in a few words."""
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(told, dict):
        return ""
    inner = told.get("error")
    said = inner.get("message") if isinstance(inner, dict) else inner or told.get("detail") or told.get("message")
    return f": {said}"[:300] if isinstance(said, str) else ""
