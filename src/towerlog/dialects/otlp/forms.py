"""Forms that secrets have in JSON text, each found in time that grows with the text and no faster.

A form begins at a place where one of its words stands, and what it has looked at is not looked at again from the next
place. Where it reads without a bound, it neither goes back nor stops before what ends the value.

Text in JSON may be JSON itself, and so on: its quotes have 1, 3, 7 … backslashes before them. How many end in ones when
they are counted in bits is the level of a quote, also behind a value that ends with backslashes of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

MASK = "[masked]"
NAMES = (
    "authorization|cookie|password|passwd|passphrase|secret|credential|private[_-]?key|api[_-]?key|access[_-]?key"
    "|signing[_-]?key|secret[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|session[_-]?token"
    "|bearer[_-]?token|id[_-]?token|api[_-]?token|security[_-]?token"
)
"""What names of secrets end with; tokens besides, alone or behind a separator or a small letter (`gitToken`)."""
PEM_AT_ONCE = 16 * 1024
"""Pieces of a private key that are read in one call, which keeps the interpreter to itself."""
_NAME_BYTES = 20
"""What is looked at of a name: the longest word, and what stands before it."""
_ESCAPED_NAME_BYTES = 120
"""Of a name with escapes, before one and behind it."""


class Inspected(NamedTuple):
    """What a form has looked at, up to `end`. From `begin` on it is a secret, if something is put in its place."""

    begin: int
    end: int
    put: bytes | None = MASK.encode()
    steps: int = 0
    """In how many it was looked at, where these are many."""


Form = Callable[[bytes, int], Inspected | None]
"""(text, place of its word) → what was found; None for nothing in the few bytes that were looked at."""


def _by(pattern: re.Pattern[bytes]) -> Form:
    """A form that is one expression: the secret is the group `value`, without which it was only looked at."""

    def look(text: bytes, at: int) -> Inspected | None:
        match = pattern.match(text, at)
        if match is None:
            return None
        begin, end = match.span("value")
        return Inspected(at, match.end(), None) if begin < 0 else Inspected(begin, end)

    return look


# By name

_FULL_NAME = re.compile(rb"(?:(?i:(?:%s)s?|(?<![A-Za-z0-9])token)|(?<=[a-z0-9])Token)\Z" % NAMES.encode())
_BLANK = rb"(?:\s|\\++[nrt]){0,8}+"
_VALUE = rb"""%s[:=]%s(?:(?P<open>\\*+)(?P<quote>["'])|(?P<bracket>[\[{])|(?P<number>-?[0-9][0-9.eE+\-]*+))""" % (
    _BLANK,
    _BLANK,
)
_MEMBER = re.compile(
    rb"(?:authorization|cookie|password|passwd|passphrase|secret|credential|key|token)s?"
    rb"""(?P<close>\\*+)["']""" + _VALUE,
    re.IGNORECASE,
)
_BEHIND_ESCAPED = re.compile(rb"""(?P<close>)["']""" + _VALUE)
_ESCAPE = re.compile(rb"\\++u00([2-7][0-9a-fA-F])")
_NEXT = re.compile(rb"""[^"'\\]*+(\\*+)(.)""", re.DOTALL)
_NEXT_IN = re.compile(rb"""[^"\\\[\]{}]*+(\\*+)(.)""", re.DOTALL)


def is_secret_name(name: bytes) -> bool:
    """Whether a member of this name, or of one that ends so, is a secret."""
    return _FULL_NAME.search(name) is not None


def member(text: bytes, at: int) -> Inspected | None:
    """A member of an object in text whose name is that of a secret: its string, number, array or object."""
    match = _MEMBER.match(text, at)
    if match is None or not is_secret_name(text[max(0, at - _NAME_BYTES) : match.start("close")]):
        return None
    return _value(text, match, _level(len(match["close"])))


def escaped_member(text: bytes, at: int) -> Inspected | None:
    """The same of a name that has escapes of letters."""
    begin = text.rfind(b'"', max(0, at - _ESCAPED_NAME_BYTES), at) + 1
    end = text.find(b'"', at, at + _ESCAPED_NAME_BYTES)
    if not begin or end < 0:
        return None
    name = text[begin:end].rstrip(b"\\")
    plain = _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), name)
    match = _BEHIND_ESCAPED.match(text, end) if is_secret_name(plain) else None
    return None if match is None else _value(text, match, _level(end - begin - len(name)))


def _level(backslashes: int) -> int:
    """Of a quote behind so many backslashes."""
    return (~backslashes & (backslashes + 1)).bit_length() - 1


def _value(text: bytes, match: re.Match[bytes], level: int) -> Inspected | None:
    at = match.end()
    if match["quote"] is not None:
        is_double = match["quote"] == b'"'
        opened = len(match["open"])
        end, steps = _string_end(text, at, _level(opened)) if is_double else _quoted_end(text, at, opened)
        return Inspected(at, end, steps=steps)
    if not level:
        return None  # a value of the event itself, whose members are masked as values
    begin = match.start("number") if match["bracket"] is None else match.start("bracket")
    end, steps = (at, 0) if match["bracket"] is None else _nested_end(text, begin, level)
    quote = b"\\" * ((1 << level) - 1) + b'"'
    return Inspected(begin, end, quote + MASK.encode() + quote, steps)


Ended = tuple[int, int]
"""Where a value ends, and in how many steps that was found."""


def _string_end(text: bytes, at: int, level: int) -> Ended:
    """Of a string whose quotes are of this level; else where what it stands in ends."""
    for steps in count():
        found = _NEXT.match(text, at)
        if found is None:
            return len(text), steps
        own = _level(len(found[1]))
        if found[2] == b'"' and own <= level:
            return found.end(1) - (1 << own) + 1, steps
        at = found.end()
    raise AssertionError


def _quoted_end(text: bytes, at: int, backslashes: int) -> Ended:
    """Of a string in single quotes that have so many backslashes before them."""
    for steps in count():
        found = _NEXT.match(text, at)
        if found is None:
            return len(text), steps
        own = len(found[1])
        if found[2] == b"'" and own == backslashes:
            return found.end(1) - own, steps
        if found[2] == b'"' and not own % 2:
            return found.end(1), steps
        at = found.end()
    raise AssertionError


def _nested_end(text: bytes, at: int, level: int) -> Ended:
    """Of an array or an object whose strings have quotes of this level; else where what it stands in ends."""
    depth, is_in_string = 0, False
    for steps in count():
        found = _NEXT_IN.match(text, at)
        if found is None:
            return len(text), steps
        what = found[2]
        if what == b'"':
            own = _level(len(found[1]))
            if own < level:
                return found.end(1) - (1 << own) + 1, steps
            is_in_string ^= own == level
        elif not is_in_string and what in b"[]{}":
            depth += 1 if what in b"[{" else -1
            if not depth:
                return found.end(), steps
        at = found.end()
    raise AssertionError


# By form

_ALONE = rb"(?:(?<![A-Za-z0-9_])|(?<=\\[nrtbf]))"
scheme = _by(re.compile(rb"(?:bearer|basic)(?:\s|\\++[nrt])++(?P<value>[A-Za-z0-9._~+/=\-]{8,}+)", re.IGNORECASE))
key = _by(
    re.compile(
        _ALONE + rb"(?P<value>sk-[A-Za-z0-9_\-]{16,}+|AKIA[0-9A-Z]{16}|gh[pos]_[A-Za-z0-9]{20,}+"
        rb"|github_pat_[A-Za-z0-9_]{20,}+|glpat-[A-Za-z0-9_\-]{16,}+|hf_[A-Za-z0-9]{20,}+"
        rb"|xox[abeoprs]-[A-Za-z0-9\-]{10,}+|AIza[A-Za-z0-9_\-]{30,}+)"
    )
)
_PART = rb"[A-Za-z0-9_\-]{8,}+"
web_token = _by(re.compile(_ALONE + rb"(?:(?P<value>eyJ%s\.%s\.%s)|eyJ[A-Za-z0-9_\-]*+)" % (_PART, _PART, _PART)))
address = _by(re.compile(rb"""://[^\s:/"'\\]*+:(?P<value>[^\s/"'\\]+)@"""))
escaped_address = _by(re.compile(rb"""\\/\\++/[^\s:/"'\\]*+:(?P<value>[^\s/"'\\]+)@"""))
_PEM = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_PEM_MORE = re.compile(rb"(?:[\w+/=:,.\-\s]++|\\++[nr]){1,%d}+" % PEM_AT_ONCE)


def private_key(text: bytes, at: int) -> Inspected | None:
    """A private key as PEM, to its end line and as far as the text goes on like it."""
    match = _PEM.match(text, at)
    if match is None:
        return None
    begin = end = match.end()
    while (more := _PEM_MORE.match(text, end)) is not None:
        end = more.end()
    return Inspected(begin, end) if end > begin else None
