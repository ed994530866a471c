"""The structure of a JSON text, looked at before any of it is decoded: how deep, how many items, how many parts.

Decoded, a text of many small parts takes many times its own memory, and one call of a decoder keeps the interpreter to
itself until it is done. So events are bounded by parts first. A long text is looked at a piece at a time, each step of
which runs in C: that bounds the memory, and lets the event loop go on between two pieces while a thread looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, islice, repeat
from operator import and_, eq

from towerlog.dialects.base import Pause, go_on
from towerlog.errors import Invalid

PIECE_BYTES = 64 * 1024
MAX_PARTS = 1_000_000
"""Commas and opening brackets of one event, those in strings included: more is not decoded in one go."""
MAX_STRING_BYTES = 8 * 1024 * 1024
"""One string of a body as it was sent. A decoder reads it in one call, which nothing can cut into pieces."""
MAX_ESCAPES = 2_100_000
"""Backslashes in one such string, which take most of that time; an event of the largest size has no more."""
MAX_MEMBERS = 20_000
"""Members of an object that is read member by member."""
COUNTED_ABOVE_BYTES = 1024 * 1024
"""A shorter body cannot have so many parts that they matter."""

_PARTS = (b",", b"[", b"{")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'"[]{},')
STEP_OF = bytes(1 if byte in b"[{" else 255 if byte in b"]}" else 0 for byte in range(256))
"""What a byte adds to the depth: +1, or -1 as a signed byte."""
_IS_COMMA = bytes(int(byte == ord(",")) for byte in range(256))


def has_too_many_parts(body: bytes, pause: Pause = go_on) -> bool:
    """Whether decoding a body in one go would hold up everybody else."""
    return len(body) > COUNTED_ABOVE_BYTES and parts_of(body, pause=pause) > MAX_PARTS


def parts_of(body: bytes, start: int = 0, end: int | None = None, *, pause: Pause = go_on) -> int:
    """How many parts a body has, from one place to another."""
    stop = len(body) if end is None else end
    parts = 0
    for at in range(start, stop, PIECE_BYTES):
        pause()
        parts += sum([body.count(part, at, min(at + PIECE_BYTES, stop)) for part in _PARTS])
    return parts


def long_strings(body: bytes, pause: Pause = go_on) -> list[tuple[int, int]]:
    """Where strings begin and end, quotes included, that are so long, or of so many escapes, that decoding one of them
    would hold up everybody else. One that is not closed goes to the end of the body.
    """
    if len(body) <= min(MAX_STRING_BYTES, MAX_ESCAPES):
        return []
    found: list[tuple[int, int]] = []
    inside, at, start, escapes = False, 0, 0, 0

    def close(end: int) -> None:
        if end - start - 2 > MAX_STRING_BYTES or escapes > MAX_ESCAPES:
            found.append((start, end))

    for piece in pieces_of(body, pause=pause):
        text = piece.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        first = text.find(b'"')
        if inside:
            escapes += piece.count(b"\\", 0, len(piece) if first < 0 else first)
            if first >= 0:
                close(at + first + 1)
        # A string that lies within a piece is no long one: what matters is the one that goes on.
        if first >= 0 and inside ^ (text.count(b'"') % 2 == 1):
            last = text.rfind(b'"')
            inside, start, escapes = True, at + last, piece.count(b"\\", last)
        elif first >= 0:
            inside = False
        at += len(piece)
    if inside:
        close(at + 1)
    return found


def check_depth(text: bytes, field: str, deepest: int, around: int = 0) -> None:
    """Refuses JSON nested deeper than `deepest`, not counting the levels `around` what the bound is for.

    Cheap for the usual body, which has fewer brackets than that.
    """
    if text.count(b"{") + text.count(b"[") <= deepest:
        return
    if is_deeper(text, deepest + around):
        raise _too_much(field, f"is nested deeper than {deepest} levels")


def is_deeper(text: bytes, deepest: int, pause: Pause = go_on) -> bool:
    """Whether JSON is nested deeper than so."""
    return any(max(depths) > deepest for depths, _ in _depths(text, pause))


def check_length(text: bytes, field: str, longest: int, what: str = "items") -> None:
    """Refuses the text of a JSON array (or object) of more than `longest` items, without decoding any of them."""
    if text.count(b",") < longest:
        return
    items = 0
    for depths, bare in _depths(text):
        # A comma at depth one ends an item.
        items += sum(map(and_, map(eq, islice(depths, 1, None), repeat(1)), bare.translate(_IS_COMMA)))
        if items >= longest:
            raise _too_much(field, f"has more than {longest} {what}")


def pieces_of(text: bytes, longest: int = PIECE_BYTES, *, start: int = 0, pause: Pause = go_on) -> Iterator[bytes]:
    """The text from a place on in pieces, none of which ends behind the backslash of an escape."""
    at = start
    while at < len(text):
        pause()
        end = at + longest
        piece = text[at:end]
        # Each piece begins with a whole escape or none, so an odd number of backslashes at its end is half of one.
        if end < len(text) and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece = piece[:-1]
        at += len(piece)
        yield piece


def _depths(text: bytes, pause: Pause = go_on) -> Iterator[tuple[list[int], bytes]]:
    """Of each piece: the depth before its first mark and behind each, and the marks: brackets and commas."""
    depth, inside = 0, False
    for piece in pieces_of(text, pause=pause):
        bare, inside = bare_marks(piece, inside)
        depths = list(accumulate(memoryview(bare.translate(STEP_OF)).cast("b"), initial=depth))
        depth = depths[-1]
        yield depths, bare


def bare_marks(piece: bytes, inside: bool) -> tuple[bytes, bool]:
    """Brackets and commas of a piece that are in no string, and whether its end is in one; `inside`: its beginning."""
    # Without escaped quotes every quote that is left begins or ends a string; without strings every bracket is one.
    marks = piece.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    parts = marks.split(b'"')
    return b"".join(parts[1::2] if inside else parts[::2]), inside ^ (len(parts) % 2 == 0)


def _too_much(field: str, why: str) -> Invalid:
    return Invalid(f"{field}: {why}", field=field, details={field: why})
