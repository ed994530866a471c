"""How commands that take long end before their time: what they have made for themselves is removed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def unwound_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does: a copy that it has made for itself is removed."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def not_broken_off() -> Iterator[None]:
    """Neither SIGTERM nor Ctrl-C breaks the block off: it is short, and half of it would have to be undone."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
