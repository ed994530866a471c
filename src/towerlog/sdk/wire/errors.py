"""What can go wrong between a client and its server. No text here ever holds a key.

They are no `TowerlogError`s: those are the server's own, and a client may meet a server that knows other ones.
"""

from __future__ import annotations

from collections.abc import Mapping


class SdkError(Exception):
    """Something went wrong between this client and its server."""


class Unreachable(SdkError):
    """No usable answer came; whether the server has done what was asked is unknown."""


class BadAnswer(Unreachable):
    """An answer came that a Towerlog server does not give: a redirect, too much, or not HTTP and JSON at all."""


class ApiError(SdkError):
    """The server has refused.

    `status` is HTTP's, `code` is stable and for programs, `message` for people, `details` maps fields to what is wrong
    with them, `retry_after` is in seconds where the server has named a time.
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
