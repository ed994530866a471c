"""The events of a body, found before any of it is decoded, so that what is too much for a decoder costs one event.

A body is an array of events, an event a line, or an object whose member `events` is an array of them. Which bytes are
which event is seen from brackets and commas alone, a piece at a time (`structure.py`). An event that is too much is
replaced by what stands for it, and the others are decoded in portions, each of which is short work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

from towerlog.dialects.base import Pause, go_on
from towerlog.dialects.structure import PIECE_BYTES, STEP_OF, bare_marks, is_deeper, pieces_of

MAX_EVENTS_FOUND = 1000
"""Events of a body that are found; none of a body with more, as no dialect takes so many."""
MAX_SHOWN_MEMBERS = 64
MAX_SHOWN_BYTES = 2048
MAX_SHOWN_DEPTH = 16
"""Members of an event that is too much, and bytes and levels of each, that stay in what stands for it: its id above
all. Two thousand bytes may be a thousand brackets, which no decoder takes."""
FINE_BYTES = 512
NOT_NOW = b'{"type":"-"}'
"""Stands for an event that another portion has."""
EVENTS = "events"

_MARK = re.compile(rb'\\.|["\[\]{},]', re.DOTALL)
_NAME = re.compile(rb'\s*"(?P<name>(?:[^"\\]|\\.)*)"\s*:', re.DOTALL)
_BLANK = b" \t\r\n"

Span = tuple[int, int]
"""Where a text begins, and where it ends."""


class Members(NamedTuple):
    """An object or array, and where each member or item of it is."""

    end: int
    """Behind its closing bracket."""
    spans: list[Span]


class EventsFound(NamedTuple):
    """The events of a body, and of an object the other members."""

    events: list[Span]
    others: dict[str, Span]
    """By name, the value of each; where a name comes twice, the last."""


def found_in(body: bytes, *, is_one: bool, pause: Pause = go_on) -> EventsFound | None:
    """Where a body has its events; None where that cannot be seen. `is_one`: an object is an event by itself."""
    start = len(body) - len(body.lstrip(_BLANK))
    whole = members_in(body, start, pause=pause)
    if whole is None:
        return None
    if whole.end < len(body) and body[whole.end :].strip(_BLANK):
        return _lines(body, start)
    if body[start : start + 1] == b"[":
        return EventsFound(whole.spans, {})
    if is_one:
        return None
    others = {name: value for name, _, value in _named(body, whole.spans)}
    listed = others.pop(EVENTS, None)
    if listed is None:
        return EventsFound([], others)
    if body[listed[0] : listed[0] + 1] != b"[":
        return None
    items = members_in(body, listed[0], pause=pause)
    return None if items is None else EventsFound(items.spans, others)


def _lines(body: bytes, start: int) -> EventsFound | None:
    spans: list[Span] = []
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        if not body[start:end].isspace() and end > start:
            spans.append((start, end))
            if len(spans) > MAX_EVENTS_FOUND:
                return None
        start = end + 1
    return EventsFound(spans, {})


def members_in(text: bytes, start: int, most: int = MAX_EVENTS_FOUND, *, pause: Pause = go_on) -> Members | None:
    """The members of what begins with a bracket there; None where none does, it has no end, or more than so many."""
    if text[start : start + 1] not in (b"[", b"{"):
        return None
    spans: list[Span] = []
    begin = start + 1
    for at, mark in _borders(text, start, pause):
        if mark == b"," or text[begin:at].strip(_BLANK):
            spans.append(_trimmed(text, begin, at))
            if len(spans) > most:
                return None
        begin = at + 1
        if mark != b",":
            return Members(begin, spans)
    return None


def _borders(text: bytes, start: int, pause: Pause) -> Iterator[tuple[int, bytes]]:
    """Each comma directly inside of the bracket there, and at last the bracket that closes it."""
    for at, piece, depth, inside in _near(text, start, PIECE_BYTES, (0, False), pause):
        for fine_at, fine, fine_depth, fine_inside in _near(piece, 0, FINE_BYTES, (depth, inside)):
            for found in _MARK.finditer(fine):
                mark = found[0]
                if mark == b'"':
                    fine_inside = not fine_inside
                elif fine_inside or len(mark) > 1:
                    continue
                elif mark in b"[{":
                    fine_depth += 1
                elif mark in b"]}":
                    fine_depth -= 1
                if fine_depth == 0 or (fine_depth == 1 and mark == b"," and not fine_inside):
                    yield at + fine_at + found.start(), mark
                if fine_depth == 0:
                    return


def _near(
    text: bytes, start: int, longest: int, state: tuple[int, bool], pause: Pause = go_on
) -> Iterator[tuple[int, bytes, int, bool]]:
    """The pieces of a text in which the depth is one or less at some mark: where, the piece, the depth before it, and
    whether it begins inside of a string. Whatever is deeper is passed over, in steps that run in C."""
    depth, inside = state
    for piece in pieces_of(text, longest, start=start, pause=pause):
        bare, goes_on = bare_marks(piece, inside)
        if bare:
            depths = list(accumulate(memoryview(bare.translate(STEP_OF)).cast("b"), initial=depth))
            if min(depths) <= 1:
                yield start, piece, depth, inside
            depth = depths[-1]
        inside = goes_on
        start += len(piece)


def _trimmed(text: bytes, begin: int, end: int) -> Span:
    while begin < end and text[begin] in _BLANK:
        begin += 1
    while end > begin and text[end - 1] in _BLANK:
        end -= 1
    return begin, end


def _named(text: bytes, spans: Iterable[Span]) -> Iterator[tuple[str, int, Span]]:
    """The members of an object: name, where the name begins, and the value. What has no name is left out."""
    for begin, end in spans:
        name = _NAME.match(text, begin, min(end, begin + MAX_SHOWN_BYTES))
        if name is not None:
            yield name["name"].decode(errors="replace"), begin, _trimmed(text, name.end(), end)


def stand_in(body: bytes, span: Span, pause: Pause = go_on) -> bytes:
    """What stands for an event that is too much: its short members, so that a reply can name it."""
    members = None
    if body[span[0] : span[0] + 1] == b"{":
        members = members_in(body, span[0], MAX_SHOWN_MEMBERS, pause=pause)
    if members is None:
        return NOT_NOW
    shown = []
    for _, begin, (value, end) in _named(body, members.spans):
        shown.append(body[begin:value] + (body[value:end] if _is_shown(body, value, end) else b"null"))
    return b"{" + b",".join(shown) + b"}"


def _is_shown(body: bytes, begin: int, end: int) -> bool:
    return end - begin <= MAX_SHOWN_BYTES and not is_deeper(body[begin:end], MAX_SHOWN_DEPTH)


def replaced(body: bytes, by: Iterable[tuple[Span, bytes]]) -> bytes:
    """The body with other texts in the place of some, which are in their order."""
    texts, at = [], 0
    for (begin, end), text in by:
        texts += [body[at:begin], text]
        at = end
    return b"".join([*texts, body[at:]])


def portions(weights: list[int], most: int, extra: int) -> list[list[int]]:
    """Indices of events in portions of no more weight than `most`, in their order; each portion has `extra` besides."""
    made: list[list[int]] = [[]]
    weight = extra
    for index, own in enumerate(weights):
        if made[-1] and weight + own > most:
            made.append([])
            weight = extra
        made[-1].append(index)
        weight += own
    return made
