"""Errors of the SDK. Their texts never contain a key.

They are not `TowerlogError`s: those belong to the server, and a client may use a server with other codes.
"""

from __future__ import annotations

from collections.abc import Mapping


class SdkError(Exception):
    """A request to the server failed."""


class Unreachable(SdkError):
    """No usable reply came; whether the server has acted is unknown."""


class BadAnswer(Unreachable):
    """The reply is not that of a Towerlog server: a redirect, too large, or not HTTP or JSON."""


class ApiError(SdkError):
    """The server has rejected the request.

    `status` is the HTTP status, `code` is stable and in lower case, `message` is for people, `details` maps fields to
    what is wrong with them, `retry_after` is in seconds, if the server has given a time.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, str] | None = None,
        trace_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.trace_id = trace_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} ({self.status} {self.code})"

    @property
    def blames_content(self) -> bool:
        """Whether what was sent is at fault: malformed, too large, or not valid. Sending it again will not help."""
        return self.status in (400, 413, 422)

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may be accepted later."""
        return self.status in (408, 425, 429, 502, 503, 504) or self.code == "in_progress"
