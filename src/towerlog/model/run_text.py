"""What a run says in words, as a search looks through it: its input, its result, what passed between it and people, and
what its row says of it.

Kept in the one spelling in which a search is asked as well (`searchable`), each part up to a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from towerlog.errors import Invalid

MAX_PART_CHARS = 4096
"""Of each part: a search finds what stands within. The input and the result keep their beginnings, talk its newest."""
READ_BYTES = 4 * MAX_PART_CHARS
"""Of a JSON text that is read for a part."""
EXCERPT_CHARS = 160
"""Of what is shown of a place where words were found."""
MAX_WORDS = 8
"""Words that a search may have; those behind are not looked for."""
_ASKED = re.compile(r'"([^"]*)"|(\S+)')
_TOKEN = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)(?:"(\s*:)?|\Z)|-?\d[-+.\deE]*|true|false')
"""A string with what follows it where that is a name, a number, or a truth: the text may end anywhere."""
_USUAL = str.maketrans("µſςϐϑϕϖϰϱϵ", "μsσβθφπκρε")
_decode = msgspec.json.Decoder(str).decode


class Hit(msgspec.Struct, frozen=True, gc=False):
    """Where a search has found a run."""

    place: str
    excerpt: str


class RunText(msgspec.Struct, frozen=True, gc=False):
    """The parts of one run; what several events tell is joined by `with_told`. None: nothing is told of that part."""

    run: int
    org: int
    given: str | None = None
    """The values of its input."""
    produced: str | None = None
    """The values of its result."""
    talk: str | None = None
    """Questions, answers and messages, the newest first."""
    about: str | None = None
    """Its error, its phase, and the values of its metadata."""
    anew: bool = False
    """It begins with this: nothing was kept before, or what was is gone. Anything else is kept where there is a
    beginning only, so that what is kept of a run is all of it."""

    def with_told(self, told: RunText) -> RunText:
        """The same with what a later event tells."""
        if told.anew:
            return told
        return RunText(
            self.run,
            self.org,
            _later(self.given, told.given),
            _later(self.produced, told.produced),
            joined_talk(told.talk, self.talk),
            _later(self.about, told.about),
            self.anew,
        )

    def whole(self) -> RunText:
        """As it is stored: a part of which nothing was told is empty."""
        given, produced, talk, about = (part or "" for part in self.parts())
        return RunText(self.run, self.org, given, produced, talk, about)

    def begun(self) -> RunText:
        """The same as a beginning."""
        return msgspec.structs.replace(self, anew=True)

    def parts(self) -> tuple[str | None, str | None, str | None, str | None]:
        """(given, produced, talk, about)."""
        return self.given, self.produced, self.talk, self.about


def _later(known: str | None, told: str | None) -> str | None:
    return known if told is None else told


def joined_talk(newest: str | None, known: str | None) -> str | None:
    """What was said, the newest first; the oldest is dropped where both are too long."""
    if newest is None or not known:
        return known if newest is None else newest
    return f"{newest}\n{known}"[:MAX_PART_CHARS]


def in_one_case(text: str) -> str:
    """In lower case, and of letters with two small forms the usual one: `ΣΑΣ` and `σας` are the same."""
    text = text.lower()
    return text if text.isascii() else text.translate(_USUAL)


def searchable(text: str) -> str:
    """A text as it is searched: in one case, one blank between two words; at most a part long."""
    text = in_one_case(text[: 2 * MAX_PART_CHARS])
    # Half a character may stand in JSON, and in no database.
    text = text if text.isascii() else text.encode("utf-8", "replace").decode()
    # SQLite's functions end a text at a NUL, and PostgreSQL has none.
    return " ".join(text.replace("\0", " ").split())[:MAX_PART_CHARS]


def words_of(asked: str) -> list[str]:
    """The words that a search asks for, all of which a run must have somewhere; at most MAX_WORDS. Those between two
    quotes stand together, as one; a quote without its other says nothing."""
    found = (phrase.strip() or word.strip('"') for phrase, word in _ASKED.findall(searchable(asked)))
    return list(dict.fromkeys(filter(None, found)))[:MAX_WORDS]


def check_asked(asked: str | None) -> None:
    """Raises Invalid for a `q` that says something and no word: without words a search would find everything."""
    if asked and not words_of(asked):
        why = "has no word to look for; leave it out to list everything"
        raise Invalid(f"q: {why}", field="q", details={"q": why})


def hit_of(words: Sequence[str], places: Mapping[str, str | None]) -> Hit | None:
    """Where words of a search stand: in the place that has most of them, of several the first. `places`: what each is
    called, and its text in the spelling of a search. None where no word is anywhere."""
    counted = {place: sum(word in text for word in words) for place, text in places.items() if text}
    place = max(counted, key=lambda one: counted[one], default=None)
    if place is None or not counted[place]:
        return None
    text = places[place] or ""
    return Hit(place, excerpt(text, min(at for word in words if (at := text.find(word)) >= 0)))


def excerpt(text: str, at: int) -> str:
    """At most EXCERPT_CHARS of a text around a place in it, of whole words; an ellipsis stands for what is left out."""
    begin = max(0, min(at - EXCERPT_CHARS // 3, len(text) - EXCERPT_CHARS))
    if begin:
        begin = max(text.find(" ", begin, at) + 1, begin)
    piece = text[begin : begin + EXCERPT_CHARS - 2]
    if begin + len(piece) < len(text):
        # A word that is cut goes, unless it is the one that was looked for.
        last = piece.rfind(" ")
        piece = (piece[:last] if last > at - begin else piece) + "…"
    return ("…" if begin else "") + piece


def values_text(json: bytes) -> str:
    """The values of a JSON text, without the names of members, as `searchable` has them. Any bytes will do."""
    found: list[str] = []
    room = MAX_PART_CHARS
    for token in _TOKEN.finditer(json[:READ_BYTES].rstrip(b"\\") if len(json) > READ_BYTES else json):
        if token[2] is None:
            text = _unescaped(token[0] if token[1] is None else token[1])
            found.append(text)
            room -= len(text) + 1
            if room <= 0:
                break
    return searchable(" ".join(found))


def _unescaped(told: bytes) -> str:
    if b"\\" in told:
        try:
            return _decode(b'"%b"' % told)
        except msgspec.MsgspecError:
            pass  # cut in the middle, or no Unicode: as it stands there
    return told.decode("utf-8", "ignore")


def joined(texts: Iterable[str | None]) -> str:
    """Several texts as one part, those that there are."""
    return searchable("\n".join(filter(None, texts)))
