"""One request with a batch of events, and what its reply means for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.errors import BadAnswer
from towerlog.sdk.wire.refusals import object_of, printable, refusal

PATH = "/api/v1/events"
HEADERS = {"Content-Type": "application/json"}
WAIT_SLACK_S = 10.0
"""How much longer than it was asked to wait a server may take."""
BATCH_EVENTS = 100
BATCH_BYTES = 256 * 1024
MAX_WORDS_CHARS = 300
STATUSES = frozenset({"stored", "duplicate", "refused"})
STRANGE_TRIES = 3
"""How often an event is sent that is answered with another status, which says neither that it is stored nor not."""
MAX_STATUS_CHARS = 40
UNKNOWN_BASE = "unknown_base"
"""The code of a checkpoint that is refused because the history that it goes on from is not stored."""


class Disposition(Enum):
    """What to do with the events of a batch after its reply."""

    TAKEN = "each event has its own result"
    LATER = "send them again soon"
    REFUSED = "the key or the server accepts none: send them again, rarely"
    SMALLER = "too large, or one of them is invalid: send fewer at a time"


class Transport(Protocol):
    """What sends requests: `towerlog.sdk.wire.http.Http`."""

    def request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, timeout_s: float | None
    ) -> Response:
        """One request and its reply. Raises Unreachable."""

    def close(self) -> None:
        """Ends all that is under way."""


@dataclass(frozen=True)
class BatchReply:
    """The reply to a batch. `results` are in the order of the events; `words` say what was wrong."""

    disposition: Disposition
    results: list[dict[str, Any]] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    retry_after_s: float | None = None
    words: str = ""


def send_batch(
    transport: Transport, client_id: str, lines: Sequence[bytes], runs: Sequence[str], wait_s: int, timeout_s: float
) -> BatchReply:
    """Sends encoded events and asks for the pending commands of `runs`. Raises Unreachable."""
    head: dict[str, Any] = {"client_id": client_id, "runs": list(runs)}
    if wait_s:
        head["wait_seconds"] = wait_s
    limit_s = timeout_s + (wait_s + WAIT_SLACK_S if wait_s else 0.0)
    return read_reply(transport.request("POST", PATH, with_events(head, lines), HEADERS, limit_s), len(lines))


def strange_status(result: Mapping[str, Any]) -> str | None:
    """What is wrong with the status of an event's result, in words; None for one that says what became of it."""
    status = result.get("status")
    if isinstance(status, str) and status in STATUSES:
        return None
    shown = printable(str(status))[:MAX_STATUS_CHARS]
    return f"the server answered {shown!r} for an event, which says neither that it is stored nor that it is not"


def is_stored(result: Mapping[str, Any]) -> bool:
    """Whether an event's result says that the server has it."""
    return result.get("status") in ("stored", "duplicate")


def with_events(members: Mapping[str, Any], lines: Sequence[bytes]) -> bytes:
    """A JSON body of these members and of `events`, which are encoded already."""
    return b"".join([json_bytes(members)[:-1], b',"events":[', b",".join(lines), b"]}"])


def json_bytes(value: object) -> bytes:
    """JSON in UTF-8. Raises TypeError or ValueError for what JSON cannot express."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def read_reply(response: Response, sent: int) -> BatchReply:
    """Interprets the reply to a batch of `sent` events."""
    if response.status == 200:
        return _taken(response, sent)
    error = refusal(response)
    words = f"HTTP {error.status}: {error.message}"[:MAX_WORDS_CHARS]
    if error.blames_content:
        return BatchReply(Disposition.SMALLER, words=words)
    if error.is_temporary or error.status >= 500:
        return BatchReply(Disposition.LATER, retry_after_s=error.retry_after, words=words)
    # 401 and 403 above all; also 404 or 405, from something that is not Towerlog or from an older version.
    return BatchReply(Disposition.REFUSED, retry_after_s=error.retry_after, words=words)


def _taken(response: Response, sent: int) -> BatchReply:
    try:
        body = object_of(response)
        results, commands = body["results"], body.get("commands") or []
    except (BadAnswer, KeyError):
        return BatchReply(Disposition.LATER, words="the reply is not that of a Towerlog server")
    whole = isinstance(results, list) and len(results) == sent and all(isinstance(each, dict) for each in results)
    if not whole or not isinstance(commands, list):
        return BatchReply(Disposition.LATER, words="the reply does not give a result for every event")
    return BatchReply(Disposition.TAKEN, results, [each for each in commands if isinstance(each, dict)])
