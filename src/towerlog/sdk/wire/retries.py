"""When a request is made once more, and when it is given up. Does no waiting itself."""

from __future__ import annotations

import random
from dataclasses import dataclass

from towerlog.sdk.wire.errors import ApiError, BadAnswer, SdkError


@dataclass(frozen=True)
class Retries:
    """How stubborn a client is: pauses double from the first to the longest, each drawn from its upper half."""

    attempts: int = 5
    first_s: float = 0.2
    longest_s: float = 5.0
    longest_told_s: float = 30.0
    """The longest pause that a server may ask for with `Retry-After`; told to wait longer, a client gives up."""

    def pause_s(self, tried: int, error: SdkError) -> float | None:
        """How long to wait after the `tried`th failure (from 1); None to give up."""
        if tried >= self.attempts or not may_pass(error):
            return None
        told = error.retry_after if isinstance(error, ApiError) else None
        if told is not None and told > self.longest_told_s:
            return None
        return max(self.backoff_s(tried), told or 0.0)

    def backoff_s(self, tried: int) -> float:
        """The pause after the `tried`th failure in a row."""
        ceiling: float = min(self.longest_s, self.first_s * 2.0 ** min(tried - 1, 30))
        return ceiling * random.uniform(0.5, 1.0)


def may_pass(error: SdkError) -> bool:
    """Whether the same request may fare better later."""
    if isinstance(error, ApiError):
        return error.is_temporary
    return not isinstance(error, BadAnswer)
