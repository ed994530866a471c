"""Times: RFC 3339 text in UTC with milliseconds on the wire, integers of wall milliseconds inside."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime

FUTURE_TOLERANCE_MS = 5 * 60 * 1000
"""How far a sender's clock may be ahead before its event is marked `future`."""
EARLIEST_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
"""A sender's time before this is that of a clock that was never set, and is not used."""
LATEST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last time that has four digits of year


def told_time(occurred_at: int | None, recorded_at: int) -> int | None:
    """A sender's time of what arrived at `recorded_at`; None for none, and for one that is absurd."""
    if occurred_at is None or not EARLIEST_MS <= occurred_at <= recorded_at + FUTURE_TOLERANCE_MS:
        return None
    return occurred_at


_FRACTION_TEXTS = tuple(f".{ms:03d}Z" for ms in range(1000))
_FRACTIONS = {"Z": 0, **{text: ms for ms, text in enumerate(_FRACTION_TEXTS)}}
"""What the usual form has after its seconds, as milliseconds."""
_FORM = re.compile(r"\d{4}-?\d\d-?\d\d[Tt ]\d\d:?\d\d(:?\d\d([.,]\d{1,60})?)?([Zz]|[+-]\d\d(:?\d\d)?)?", re.ASCII)


MAX_KNOWN_SECONDS = 1024
"""Seconds that are remembered, each way, with their text of 19 characters."""


# Events come in bursts: most times to be written or read share their second with the one before.
@functools.lru_cache(maxsize=MAX_KNOWN_SECONDS)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_ms(time_ms: int) -> str:
    """`1700000000123` becomes `2023-11-14T22:13:20.123Z`."""
    return _second_text(time_ms // 1000) + _FRACTION_TEXTS[time_ms % 1000]


_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def spoken_ms(time_ms: int) -> str:
    """For people, on pages that do not know their zone: `29 November 2026 at 07:51 UTC`."""
    found = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{found.day} {_MONTHS[found.month - 1]} {found.year} at {found:%H:%M} UTC"


def format_optional_ms(time_ms: int | None) -> str | None:
    """The text of a time that may be unknown."""
    return None if time_ms is None else format_ms(time_ms)


@functools.lru_cache(maxsize=MAX_KNOWN_SECONDS)
def _second_ms(text: str) -> int:
    return parse_ms(text)


def parse_ms(text: str) -> int:
    """Milliseconds of an ISO 8601 time; one without an offset is UTC. Raises ValueError for anything else."""
    # The usual form: `_second_ms` has most likely parsed its seconds before, and checks their digits if not.
    fraction = _FRACTIONS.get(text[19:])
    if fraction is not None and text[10] == "T":
        return _second_ms(text[:19]) + fraction
    if not _FORM.fullmatch(text):
        raise ValueError("not an ISO 8601 date and time such as 2026-04-02T10:00:00Z")
    try:
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # Rounded to the nearest ms: a timestamp is a float and may lie just below.
        time_ms = int(moment.timestamp() * 1000 + 0.5)
    except (ValueError, OverflowError):
        raise ValueError("not an ISO 8601 date and time such as 2026-04-02T10:00:00Z") from None
    # With an offset, a time near either end can fall outside of what `format_ms` can write.
    if not 0 <= time_ms <= LATEST_MS:
        raise ValueError("is outside the years 1970 to 9999")
    return time_ms
