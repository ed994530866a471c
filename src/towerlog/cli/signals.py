"""How commands that take long end before their time: what they have made for themselves is removed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)
"""Signals that end a command: from a supervisor, and Ctrl-C."""


@contextmanager
def unwound_by_signals() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does: a copy that it has made for itself is removed.

    The first of them is the last that is heard, until the process has ended: another one would break off what removes
    the copy. One that was ignored before stays so.
    """

    def end(number: int, _: FrameType | None) -> None:
        for one in ENDING:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is end:
                signal.signal(number, handler)


@contextmanager
def ended_after() -> Iterator[None]:
    """These signals come when the block is over: what it makes is by then in the hands of who gives it back."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def not_broken_off() -> Iterator[None]:
    """Neither SIGTERM nor Ctrl-C breaks the block off: it is short, and half of it would have to be undone."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in ENDING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
