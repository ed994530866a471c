"""What makes an alert, as far as it can be told from figures alone: loops, thresholds, windows. Pure."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Sequence

import msgspec

from towerlog.model.alert import DEFAULT_MIN_RUNS, DEFAULT_TIMES, AlertConfig, AlertState

CALL_BYTES = 8
"""Of the digest that stands for a tool call."""
_encode = msgspec.json.Encoder(order="sorted").encode


def call_digest(tool: str | None, arguments: bytes) -> bytes:
    """What stands for a call: the same tool with the same arguments, whatever the order and spelling of its members."""
    # What cannot be read is held against its own text.
    with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
        arguments = _encode(msgspec.json.decode(arguments)) if arguments else b""
    # No tool's name has a line end, and no JSON text begins with what follows one.
    return hashlib.blake2b(f"{tool or ''}\n".encode() + arguments, digest_size=CALL_BYTES).digest()


def split_calls(digests: bytes) -> list[bytes]:
    """The digests of calls that stand one behind the other."""
    return [digests[start : start + CALL_BYTES] for start in range(0, len(digests), CALL_BYTES)]


def begins_loop(calls: Sequence[bytes], times: int | None) -> bool:
    """Whether the last of these calls makes a loop of them: it has been made so often now, or two calls alternate.

    Each loop begins once: one more of the same call says nothing new. Two calls that alternate are a loop one round
    before one of them alone would be.
    """
    times = times or DEFAULT_TIMES
    if not calls:
        return False
    if calls.count(calls[-1]) == times:
        return True
    length = 2 * max(2, times - 1)
    return _alternates(calls, length) and not _alternates(calls[:-1], length)


def holds_loop(calls: Sequence[bytes], times: int | None) -> bool:
    """Whether any of these calls has begun a loop."""
    times = times or DEFAULT_TIMES
    if calls and max(Counter(calls).values()) >= times:
        return True
    length = 2 * max(2, times - 1)
    return any(_alternates(calls[:end], length) for end in range(length, len(calls) + 1))


def _alternates(calls: Sequence[bytes], length: int) -> bool:
    """Whether the last so many calls are a-b-a-b …"""
    last = calls[-length:]
    if len(last) < length or last[0] == last[1]:
        return False
    return all(call == last[index % 2] for index, call in enumerate(last))


def crosses(before: int, after: int, threshold: int) -> bool:
    """Whether a sum has come up to a threshold just now."""
    return before < threshold <= after


def failure_state(runs: int, failed: int, config: AlertConfig) -> AlertState:
    """Of the runs that ended in a window: whether too many have failed. Too few runs are no rate."""
    if runs < (config.times or DEFAULT_MIN_RUNS):
        return AlertState.NO_DATA
    return AlertState.ALERT if failed >= runs * (config.fraction or 0) and failed else AlertState.OK


def burn_state(spent_nanos: int, config: AlertConfig) -> AlertState:
    """Of what was spent in a window: whether it is too much. Where nothing was, nobody can tell what it would be."""
    if not spent_nanos:
        return AlertState.NO_DATA
    return AlertState.ALERT if spent_nanos >= (config.amount_nanos or 0) else AlertState.OK
