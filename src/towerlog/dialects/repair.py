"""Repair of bodies that are JSON but for what senders are known to get wrong: half an emoji, a cut character, `NaN`, a
byte order mark.

Bytes that are no UTF-8 and a lone surrogate escape become U+FFFD, `NaN` and `Infinity` become null, a byte order mark
is dropped. Only a body that could not be decoded comes here, so good bodies pay nothing. Everything else that is no
JSON stays refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import islice

import msgspec

from towerlog.dialects.base import Pause, go_on
from towerlog.dialects.structure import PIECE_BYTES
from towerlog.model.event import FieldWarning

MAX_QUOTES = 1_000_000
"""Quotes of an event in which numbers that are no JSON are looked for; one with more is refused."""
MAX_SUSPECTS = 500_000
"""Words and escapes of one event that may have to be repaired; one with more is refused."""
MAX_NAMED = 100
"""Repaired places that are named; of more, only that there are more is said."""
MAX_NAMED_DEPTH = 16
"""Levels that are named of a place; a deeper one is named by what it lies in."""
MAX_NAMED_COMMAS = 100_000
"""Commas of an object or array whose members are looked into for the place of a repair."""

SURROGATE = "half of a surrogate pair was replaced by U+FFFD"
NOT_UTF8 = "bytes that are no UTF-8 were replaced by U+FFFD"
NOT_A_NUMBER = "NaN and Infinity are no JSON and were replaced by null"
BYTE_ORDER_MARK = "a byte order mark was dropped"
MORE = "there are more places that were repaired"

_BOM = b"\xef\xbb\xbf"
_BARE_WORDS = (b"-Infinity", b"Infinity", b"NaN")
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# Begins with plain text, which is looked for much faster than a choice.
_LONE = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!%s)|[c-fC-F][0-9a-fA-F]{2}(?<!\\u[dD][89abAB][0-9a-fA-F]{2}%s))"
    % (_LOW, _LOW)
)
# Control characters cannot stand in JSON, so these stand for escapes whose bytes must not be read as others.
_BACKSLASH, _QUOTE = b"\x00\x00", b"\x01\x01"
_ESCAPED = re.compile("[\udc80-\udcff]+")
_REPLACEMENT = "\ufffd".encode()
_HIGH = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_WORD_END = re.compile(rb"(?<![-A-Za-z\\])[-A-Za-z]+\Z")
_MAX_WORD_BYTES = max(map(len, _BARE_WORDS))
_ESCAPE_BYTES = 6
_BACKSLASH_BYTE = 92
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_SUSPECTS = (b"\\ud", b"\\uD", b"NaN", b"Infinity")
"""Beginnings of escapes, and then words."""


class Repaired(msgspec.Struct, frozen=True):
    """A body that was repaired, and what was done where."""

    body: bytes
    warnings: tuple[FieldWarning, ...]


def repair(body: bytes, pause: Pause = go_on, *, words_as_text: bool = False) -> Repaired | None:
    """The body repaired; None where there is nothing that is repaired here. It may still be no JSON.

    `words_as_text`: `NaN` and `Infinity` become texts and not null, as the JSON of protobuf has them.
    """
    text = body.removeprefix(_BOM)
    warnings = [FieldWarning(field="body", message=f"body: {BYTE_ORDER_MARK}")] if len(text) < len(body) else []
    if b"\x00" in text or b"\x01" in text or costs_of(text, 0, len(text), pause) > 1:
        return None
    has_words = b"NaN" in text or b"Infinity" in text
    mark = _unused_mark(text)
    pass_ = _Pass(mark, has_words, words_as_text)
    text, pass_.marks = _as_utf8(text, mark, pause)
    pieces = [pass_.over(piece) for piece in _whole_pieces(text, pause)]
    repaired = b"".join([plain for plain, _ in pieces]).replace(mark + b"U", _REPLACEMENT)
    if pass_.marks:
        warnings += _warnings_of(b"".join([marked for _, marked in pieces]), mark)
    return Repaired(repaired, tuple(warnings)) if warnings else None


def costs_of(text: bytes, start: int, end: int, pause: Pause = go_on) -> float:
    """How much work the repair of a text is, from one place to another: past 1, too much.

    Counted a piece at a time; what lies in two pieces does not matter here.
    """
    suspects = words = quotes = 0
    for at in range(start, end, PIECE_BYTES):
        pause()
        stop = min(at + PIECE_BYTES, end)
        found = [text.count(suspect, at, stop) for suspect in _SUSPECTS]
        suspects += sum(found)
        words += sum(found[2:])
        quotes += text.count(b'"', at, stop)
    return max(suspects / MAX_SUSPECTS, quotes / MAX_QUOTES if words else 0)


def _as_utf8(text: bytes, mark: bytes, pause: Pause) -> tuple[bytes, int]:
    """The text with U+FFFD for bytes that are no UTF-8, those of one place together; the first places are marked."""
    if text.isascii():
        return text, 0
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    marked, marks, found = (mark + b"U").decode("ascii"), 0, list[bytes]()
    for at in range(0, len(text), PIECE_BYTES):
        pause()
        piece = decode(text[at : at + PIECE_BYTES], at + PIECE_BYTES >= len(text))
        left = MAX_NAMED + 1 - marks
        if left > 0:
            piece, more = _ESCAPED.subn(marked, piece, count=left)
            marks += more
        found.append(_ESCAPED.sub("\ufffd", piece).encode())
    return b"".join(found), marks


class _Pass:
    """One pass over a text, a piece at a time: what is wrong is replaced, and marked in a text beside it."""

    def __init__(self, mark: bytes, has_words: bool, words_as_text: bool) -> None:
        """`mark` is in none of the pieces; `has_words`: numbers that are no JSON are looked for."""
        # What stands for a word until the strings are back in their places, and what then becomes of that.
        stands = {word: b"'%s%d'" % (mark, at) for at, word in enumerate(_BARE_WORDS)} if words_as_text else {}
        self._stands = dict.fromkeys(_BARE_WORDS, b"null") | stands
        self._texts = {stand: b'"%s"' % word for word, stand in stands.items()}
        self._half, self._number = mark + b"S", mark + b"N"
        self._has_words = has_words
        self._inside = False
        self.marks = 0

    def over(self, piece: bytes) -> tuple[bytes, bytes]:
        """The piece repaired, and marked."""
        # What is left of the backslashes begins an escape, and what is left of the quotes begins or ends a string.
        text = piece.replace(b"\\\\", _BACKSLASH).replace(b'\\"', _QUOTE)
        plain, marked = self._without_bare_words(text) if self._has_words else (text, text)
        if b"\\u" in text:
            left = MAX_NAMED + 1 - self.marks
            if left > 0:
                marked, found = _LONE.subn(self._half, marked, count=left)
                self.marks += found
            marked, plain = _LONE.sub(rb"\\ufffd", marked), _LONE.sub(rb"\\ufffd", plain)
        return _restored(plain), _restored(marked)

    def _without_bare_words(self, text: bytes) -> tuple[bytes, bytes]:
        """The text with null for each number that is no JSON; and with a string that holds the mark.

        All steps run in C: what is between quotes is a string, and what is not is searched as one text.
        """
        pieces = text.split(b'"')
        outside = 1 if self._inside else 0
        self._inside ^= len(pieces) % 2 == 0
        bare = b'"'.join(pieces[outside::2])
        plain = marked = bare
        for word in _BARE_WORDS:
            found = marked.count(word)
            if found:
                marked = marked.replace(word, b"'" + self._number + b"'", max(MAX_NAMED + 1 - self.marks, 0))
                marked = marked.replace(word, b"null")
                plain = plain.replace(word, self._stands[word])
                self.marks += found
        if plain == bare:
            return text, text
        pieces[outside::2] = plain.split(b'"')
        repaired = b'"'.join(pieces)
        for stands, quoted in self._texts.items():
            repaired = repaired.replace(stands, quoted)
        pieces[outside::2] = marked.split(b'"')
        return repaired, b'"'.join(pieces).replace(b"'" + self._number + b"'", b'"' + self._number + b'"')


def _whole_pieces(text: bytes, pause: Pause) -> Iterator[bytes]:
    """The text in pieces, none of which ends inside of an escape, a pair of surrogates or a word."""
    at = 0
    while at < len(text):
        pause()
        piece = text[at : at + PIECE_BYTES]
        if at + len(piece) < len(text):
            piece = piece[: _end_of(piece)]
        at += len(piece)
        yield piece


def _end_of(piece: bytes) -> int:
    """Where a piece may end that begins with a whole escape or none, and that something follows."""
    for start in range(len(piece) - 1, len(piece) - _ESCAPE_BYTES - 1, -1):
        # In a run of backslashes each second one is what the one before it means.
        if piece[start] == _BACKSLASH_BYTE and (start + 1 - len(piece[: start + 1].rstrip(b"\\"))) % 2:
            # The second half of a pair stays with the first.
            return start - _ESCAPE_BYTES if _HIGH.fullmatch(piece, start - _ESCAPE_BYTES, start) else start
    word = _WORD_END.search(piece, len(piece) - _MAX_WORD_BYTES)
    return len(piece) if word is None else word.start()


def _unused_mark(text: bytes) -> bytes:
    """Letters that do not occur in a text, to be found again where they are put."""
    mark = b"towerlogRepaired"
    while mark in text:
        mark += b"x"
    return mark


def _restored(text: bytes) -> bytes:
    return text.replace(_QUOTE, b'\\"').replace(_BACKSLASH, b"\\\\")


def _warnings_of(marked: bytes, mark: bytes) -> list[FieldWarning]:
    """One for each place that is marked."""
    places = list(islice(_places(marked, mark, ()), MAX_NAMED + 1))
    warnings = [_warning(path, why) for path, why in dict.fromkeys(places[:MAX_NAMED])]
    if len(places) > MAX_NAMED:
        warnings.append(FieldWarning(field="body", message=f"body: {MORE}"))
    return warnings


Path = tuple[str | int, ...]


def _places(text: bytes, mark: bytes, path: Path) -> Iterator[tuple[Path, str]]:
    """Path and kind of every repair in a JSON text, in order."""
    why = SURROGATE if mark + b"S" in text else NOT_UTF8 if mark + b"U" in text else NOT_A_NUMBER
    named = mark.decode("ascii")
    inside = False
    for name, member in _members(text, path):
        if isinstance(name, str) and named in name:
            why_name = SURROGATE if named + "S" in name else NOT_UTF8
            inside, name = True, name.replace(named + "S", "\ufffd").replace(named + "U", "\ufffd")
            yield (*path, name), why_name
        if mark in member:
            inside = True
            yield from _places(member, mark, (*path, name))
    if not inside:
        yield path, why


def _members(text: bytes, path: Path) -> list[tuple[str | int, bytes]]:
    """The members of an object or array, none of anything else and of what is not looked into."""
    if len(path) >= MAX_NAMED_DEPTH or text.count(b",") > MAX_NAMED_COMMAS:
        return []
    start = text.lstrip()[:1]
    try:
        if start == b"{":
            return [(name, bytes(member)) for name, member in _OBJECT.decode(text).items()]
        if start == b"[":
            return [(index, bytes(item)) for index, item in enumerate(_ARRAY.decode(text))]
    except (msgspec.DecodeError, RecursionError):
        # No JSON after all, or lines of JSON.
        return []
    return []


def _warning(path: Path, why: str) -> FieldWarning:
    """Of an event in a batch, with its index: batches are arrays, or objects with an array of `events`."""
    index: int | None = None
    within = path[1:] if path[:1] == ("events",) else path
    if within and isinstance(within[0], int):
        index, path = within[0], within[1:]
    field = ".".join(map(str, path)) or ("body" if index is None else "event")
    return FieldWarning(index=index, field=field, message=f"{field}: {why}")
