"""Secrets that instrumentations put into attributes (environment, headers, arguments) are masked before they are kept.

By name: the value of an attribute, or of a member of JSON in one, whose name says that it is a secret. By form: keys of
known providers, tokens of headers and of the web, private keys, passwords in addresses. What is masked is gone.

Text is looked through for a few short words, which C does fast, and looked at closely only around these. Of a request
is found out once which of them it has at all.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any

from towerlog.dialects.base import Pause, go_on
from towerlog.dialects.fields import invalid_field
from towerlog.dialects.otlp import forms
from towerlog.dialects.otlp.forms import MASK, NAMES, Form, Inspected

MAX_KNOWN_KEYS = 4096
MAX_KEY_CHARS = 256
"""Names of attributes of which is remembered whether they name a secret, and how much of a name is looked at."""
MAX_KNOWN_NAMES = 1024
"""Names, and ids, of which is remembered what they are without the secrets in them."""
MAX_SUSPECTED = 500_000
"""Places of one request that are looked at closely; what has more is refused, since nobody knows what is in it."""
WORK_OF_FOUND = 8
STEPS_OF_WORK = 4
"""So many places is one where there is a secret; so many steps of reading a value are one."""
PLACES_AT_ONCE = 500
"""Between which others are decoded."""
QUICK_SUSPECTED = 2000
"""Places that may be secrets of a request that is read at once: each takes up to 8 µs."""
COUNTED_BYTES = 256 * 1024
"""Of a body that is not looked through again when it is decoded, right after this was asked for."""

_SECRET_NAME = re.compile(rf"(?i:(?:{NAMES}|pwd)s?$|(?:^|[._-])token$)|[a-z0-9]Token$")
_ENVIRONMENT = "process.environment_variable."

_UNQUOTED = re.compile(
    rb"(?:authorization|cookie|password|passwd|passphrase|pwd|secret|credential|key|token)s?"
    rb"(?:(?P<assigned>=(?![=\s]))|(?P<line>[ ]?[:=][ ]{0,4}+)|(?P<option>[ ]{1,4}+))",
    re.IGNORECASE,
)
"""The name of a secret that stands in no quotes, and what is between it and its value: in a query, a connection string
or an environment; in a line of a header or of YAML; of an option of a command."""
_VALUES = {
    "assigned": re.compile(rb"[^\s\"'\\&;,<>(){}\[\]]{3,}+"),
    "line": re.compile(rb"[^\s\"'\\]{3,}+(?=[ ]*+(?:[\"'\\\n#]|\Z))"),
    "option": re.compile(rb"(?![-=:])[^\s\"'\\]{3,}+"),
}
_HEADERS = (b"cookie", b"authorization")
_LINE = re.compile(rb"(?:[^\"'\\\n]|\\++t){3,}+")
"""What follows a header: all of the line."""
_BEFORE_BYTES = 64
"""What is looked at before a name."""
_NAME_BYTES = 20
"""Of these, what tells whether it is one of a secret."""
_NAME_SIGNS = bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123)) + b"_-."


def _named(text: bytes, at: int) -> Inspected | None:
    return forms.member(text, at) or _unquoted(text, at)


def _unquoted(text: bytes, at: int) -> Inspected | None:
    """A value behind the name of a secret that stands in no quotes, inside of a string of the JSON."""
    match = _UNQUOTED.match(text, at)
    if match is None:
        return None
    kind = match.lastgroup or ""
    before = text[max(0, at - _BEFORE_BYTES) : at]
    if kind == "option" and b"--" not in before:
        return None
    word = text[at : match.start(kind)].lower()
    if not (word == b"pwd" or forms.is_secret_name(text[max(0, at - _NAME_BYTES) : match.start(kind)])):
        return None
    around = before.rstrip(_NAME_SIGNS)
    begun = before[len(around) :]
    if kind == "option" and not begun.startswith(b"--"):
        return None
    if kind == "line" and not _begins_line(around, begun, at):
        return None
    is_header = kind == "line" and word.startswith(_HEADERS)
    value = (_LINE if is_header else _VALUES[kind]).match(text, match.end())
    return None if value is None else Inspected(value.start(), value.end())


def _begins_line(around: bytes, name: bytes, at: int) -> bool:
    """Whether a name begins a line, or a string; `around`: what stands before it."""
    before = around.rstrip(b" ")
    if not before:
        return at <= _BEFORE_BYTES
    # The letter of a line's end in JSON is taken for one of the name.
    is_escape = before is around and before.endswith(b"\\") and name[:1] in (b"n", b"r", b"t")
    return is_escape or before.endswith((b'"', b"'", b"\n", b"\\n", b"\\r", b"\\t"))


Suspects = tuple[tuple[bytes, Form], ...]
_OF_NAMES = b"key"
SUSPECTS: Suspects = (
    *((word, _named) for word in (b"auth", b"cookie", b"pass", b"secret", b"credential", b"token", _OF_NAMES)),
    (b"pwd", _unquoted),
    (rb"\\u00", forms.escaped_member),
    *((word, forms.scheme) for word in (b"bearer", b"basic")),
    *((word, forms.key) for word in (b"sk-", b"akia", b"ghp_", b"gho_", b"ghs_", b"github_pat_", b"glpat-", b"hf_")),
    *((word, forms.key) for word in (b"xox", b"aiza")),
    (b"eyj", forms.web_token),
    (b"-----begin ", forms.private_key),
    (b"://", forms.address),
    (rb"\/", forms.escaped_address),
)
"""Words in small letters, and what a secret with such a word looks like."""
_MEMBER_OF_OTLP = b'"key":'
"""What every request in JSON has: the name of an attribute stands behind it."""
_NOT_OF_OTLP = b'(?:(?<!"key)|(?!":))'
_SIGNS = b"\\/zjx-_ckbup"
"""Signs of these words, the rarest in what is sent first. Words that share one are looked for together, at each place
where it stands: that takes a third of looking for one word after the other."""


def _by_sign() -> tuple[tuple[bytes, re.Pattern[bytes], tuple[int, ...]], ...]:
    """A sign, what finds any of the words that are looked for by it, and their places in `SUSPECTS`."""
    found: dict[bytes, list[int]] = {}
    for index, (word, _) in enumerate(SUSPECTS):
        sign = next(_SIGNS[at : at + 1] for at in range(len(_SIGNS)) if _SIGNS[at : at + 1] in word)
        found.setdefault(sign, []).append(index)
    return tuple(
        (sign, _finder(sign, [SUSPECTS[at][0] for at in places]), tuple(places)) for sign, places in found.items()
    )


def _finder(sign: bytes, words: list[bytes]) -> re.Pattern[bytes]:
    # It begins with the sign itself, which the interpreter then looks for without trying anything else.
    ends = [re.escape(word.partition(sign)[2]) + b"(?<=%s)" % re.escape(word) for word in words]
    ends = [end + _NOT_OF_OTLP if word is _OF_NAMES else end for word, end in zip(words, ends, strict=True)]
    return re.compile(re.escape(sign) + b"(?:%s)" % b"|".join(ends))


_BY_SIGN = _by_sign()
SIGNS_UP_TO_BYTES = 128 * 1024
"""Of a body in which words are looked for by their signs: one of nothing but signs takes a hundred times as long."""
_AT_NAMES = next(index for index, (word, _) in enumerate(SUSPECTS) if word is _OF_NAMES)


class Suspicions:
    """How many places of a request are still looked at."""

    __slots__ = ("_pause", "_pause_at", "left")

    def __init__(self, pause: Pause = go_on) -> None:
        """None was looked at yet."""
        self.left = self._pause_at = MAX_SUSPECTED
        self._pause = pause

    def take(self, places: int) -> None:
        """Raises Invalid."""
        self.left -= places
        if self.left < self._pause_at:
            self._pause_at = self.left - PLACES_AT_ONCE
            self._pause()
        if self.left < 0:
            raise invalid_field(
                "attributes", f"are beyond the first {MAX_SUSPECTED} places of the request that may be secrets"
            )


def names_secret(key: str) -> bool:
    """Whether the value of an attribute of this name is a secret."""
    return _names_secret(key) if len(key) <= MAX_KEY_CHARS else _names_secret(key[-MAX_KEY_CHARS:])


@functools.lru_cache(maxsize=MAX_KNOWN_KEYS)
def _names_secret(key: str) -> bool:
    return key.startswith(_ENVIRONMENT) or _SECRET_NAME.search(key) is not None


def masked(value: Any) -> Any:
    """A value of attributes with the members masked that are named for secrets. What is text is for `masked_text`."""
    if isinstance(value, dict):
        return {name: _member(name, found) for name, found in value.items()}
    return [masked(one) for one in value] if isinstance(value, list) else value


def _member(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return MASK if names_secret(name) else value if isinstance(value, str) else masked(value)


@functools.lru_cache(maxsize=MAX_KNOWN_NAMES)
def masked_name(text: str) -> str:
    """A name, of an agent or a model or a tool, which is short, with what is a secret in it masked."""
    return masked_text(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def masked_id(text: str) -> str:
    """An id; of one that is a secret, or has one in it, a digest, so that those that differ still do."""
    return _masked_id(text) if len(text) <= MAX_KEY_CHARS else _masked_id.__wrapped__(text)


@functools.lru_cache(maxsize=MAX_KNOWN_NAMES)
def _masked_id(text: str) -> str:
    plain = text.encode("utf-8", "replace")
    if masked_text(plain) == plain:
        return text
    return f"masked-{hashlib.blake2b(plain, digest_size=16).hexdigest()}"


def suspects_in(body: bytes, pause: Pause = go_on) -> Suspects:
    """Those that events of a request can hold. In JSON a letter may be an escape, which is then any letter."""
    return _counted(body, pause)[0]


def has_few_suspects(body: bytes) -> bool:
    """Whether a body, which is short, is looked through in a few milliseconds."""
    return _counted(body, go_on)[1] <= QUICK_SUSPECTED


def _counted(body: bytes, pause: Pause) -> tuple[Suspects, int]:
    """Of a body: what its events are looked through for, and in how many places about."""
    return _counted_short(body) if len(body) <= COUNTED_BYTES else _count(body, pause)


@functools.lru_cache(maxsize=2)
def _counted_short(body: bytes) -> tuple[Suspects, int]:
    return _count(body, go_on)


def _count(body: bytes, pause: Pause) -> tuple[Suspects, int]:
    has_escapes = b"\\" in body
    small = body.lower()
    if has_escapes:
        small = small.replace(rb"\/", b"/")
    counts = dict.fromkeys(range(len(SUSPECTS)), 0)
    for sign, finder, places in _BY_SIGN:
        if not (has_escapes if sign == b"\\" else sign in small):
            continue
        if len(body) > SIGNS_UP_TO_BYTES or sign == b"\\" or finder.search(small) is not None:
            for at in places:
                pause()
                word = SUSPECTS[at][0]
                counts[at] = (body if word == rb"\/" else small).count(word)
    found = sum(counts.values())
    if has_escapes and rb"\u" in body:
        return SUSPECTS, found
    of_otlp = small.count(_MEMBER_OF_OTLP) if counts[_AT_NAMES] else 0
    counts[_AT_NAMES] -= of_otlp
    return tuple(one for at, one in enumerate(SUSPECTS) if counts[at] > 0), found - of_otlp


def masked_text(text: bytes, suspects: Suspects = SUSPECTS, suspicions: Suspicions | None = None) -> bytes:
    """JSON text with all masked that has the form of a secret. It stays JSON: nothing reaches beyond a string.

    Raises Invalid for text with more places that may be secrets than are looked at; `suspicions`: of its request.
    """
    if not suspects:
        return text
    suspicions = suspicions or Suspicions()
    small = text.lower()
    for word, form in suspects:
        at = small.find(word)
        if at >= 0:
            changed = _without(text, small, at, word, form, suspicions)
            if changed is not text:
                text, small = changed, changed.lower()
    return text


def _without(text: bytes, small: bytes, at: int, word: bytes, form: Form, suspicions: Suspicions) -> bytes:
    """The text without the secrets of one form; `small`: in small letters; `at`: where the word stands first."""
    parts: list[bytes] = []
    done = 0
    while at >= 0:
        suspicions.take(1)
        found = form(text, at)
        if found is None:
            at += len(word)
        else:
            at = found.end
            if found.put is not None:
                suspicions.take(WORK_OF_FOUND + found.steps // STEPS_OF_WORK)
                parts += (text[done : found.begin], found.put)
                done = at
        at = small.find(word, at)
    return b"".join((*parts, text[done:])) if parts else text
