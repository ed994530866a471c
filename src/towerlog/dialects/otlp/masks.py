"""Secrets that instrumentations put into attributes (environment, headers, arguments) are masked before they are kept.

By name: the value of an attribute, or of a member of JSON in one, whose name says that it is a secret. By form: keys of
known providers, tokens of headers and of the web, private keys, passwords in addresses. What is masked is gone.

Text is looked through for a few short words, which C does fast, and looked at closely only around these. Of a request
is found out once which of them it has at all.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from towerlog.dialects.fields import invalid_field

MASK = "[masked]"
MAX_KNOWN_KEYS = 4096
MAX_KEY_CHARS = 256
"""Names of attributes of which is remembered whether they name a secret, and how much of a name is looked at."""
MAX_SUSPECTED = 500_000
"""Places of one event that are looked at closely; with more it is refused, since nobody knows what is in it."""

_WORDS = (
    "authorization|cookie|password|passwd|passphrase|secret|credential|private[_-]?key|api[_-]?key|access[_-]?key"
    "|signing[_-]?key|secret[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|session[_-]?token"
    "|bearer[_-]?token|id[_-]?token|api[_-]?token|security[_-]?token"
)
_SECRET_NAME = re.compile(rf"(?:{_WORDS})s?$|(?:^|[._-])token$", re.IGNORECASE)
_ENVIRONMENT = "process.environment_variable."

# In JSON that is text in JSON, quotes have backslashes before them.
_MEMBER = re.compile(
    rb"""(?:authorization|cookie|password|passwd|passphrase|secret|credential|key|token)s?\\{0,8}["']\s{0,4}[:=]\s{0,4}"""
    rb"""(?P<open>\\{0,8}["'])(?P<value>[^"'\\]{1,16384})""",
    re.IGNORECASE,
)
_FULL_NAME = re.compile(rb"(?:(?:%s)s?|(?<!\w)token)\Z" % _WORDS.encode(), re.IGNORECASE)
_MAX_NAME_BYTES = 20
_SCHEME = re.compile(rb"(?:bearer|basic)\s{1,4}(?P<value>[A-Za-z0-9._~+/=\-]{8,16384})", re.IGNORECASE)
_KEY = re.compile(
    rb"(?<![A-Za-z0-9_])(?P<value>sk-[A-Za-z0-9_\-]{16,512}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,255}"
    rb"|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_\-]{16,255}|hf_[A-Za-z0-9]{20,255}"
    rb"|xox[abeoprs]-[A-Za-z0-9\-]{10,255}|AIza[A-Za-z0-9_\-]{30,100}"
    rb"|eyJ[A-Za-z0-9_\-]{8,4096}\.[A-Za-z0-9_\-]{8,16384}\.[A-Za-z0-9_\-]{8,4096})"
)
_PEM = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?P<value>(?:[\w+/=:,.\-\s]|\\{1,8}[nr]){1,16384})")
_USER = re.compile(rb"://[^\s:/@\"'\\]{0,200}:(?P<value>[^\s/@\"'\\]{1,500})@")

Suspects = tuple[tuple[bytes, re.Pattern[bytes]], ...]
SUSPECTS: Suspects = (
    *((word, _MEMBER) for word in (b"authorization", b"cookie", b"passw", b"passphrase", b"secret", b"credential")),
    *((word, _MEMBER) for word in (b"key", b"token")),
    *((word, _SCHEME) for word in (b"bearer ", b"basic ")),
    *((word, _KEY) for word in (b"sk-", b"akia", b"asia", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_")),
    *((word, _KEY) for word in (b"github_pat_", b"glpat-", b"hf_", b"xox", b"aiza", b"eyj")),
    (b"-----begin ", _PEM),
    (b"://", _USER),
)
"""A word in small letters, and what follows from there if it is a secret, in the group `value`."""


def names_secret(key: str) -> bool:
    """Whether the value of an attribute of this name is a secret."""
    return _names_secret(key if len(key) <= MAX_KEY_CHARS else key[-MAX_KEY_CHARS:])


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


def suspects_in(body: bytes) -> Suspects:
    """Those that events of a request can hold. In JSON a letter may be an escape, which is then any letter."""
    if b"\\u" in body:
        return SUSPECTS
    small = body.lower()
    return tuple(one for one in SUSPECTS if one[0] in small)


def masked_text(text: bytes, suspects: Suspects = SUSPECTS) -> bytes:
    """JSON text with all masked that has the form of a secret. It stays JSON: nothing reaches beyond a string.

    Raises Invalid for text with more than MAX_SUSPECTED places that may be secrets.
    """
    found = sorted(_secrets(text, suspects)) if suspects else None
    if not found:
        return text
    parts: list[bytes] = []
    at = 0
    for begin, end in found:
        if end > at:
            parts += (text[at : max(at, begin)], b"" if begin < at else MASK.encode())
            at = end
    parts.append(text[at:])
    return b"".join(parts)


def _secrets(text: bytes, suspects: Suspects) -> Iterator[tuple[int, int]]:
    small, looked_at = text.lower(), 0
    for word, form in suspects:
        at = small.find(word)
        while at >= 0:
            looked_at += 1
            if looked_at > MAX_SUSPECTED:
                raise invalid_field("attributes", f"have more than {MAX_SUSPECTED} places that may be secrets")
            match = form.match(text, at)
            if match is not None and (form is not _MEMBER or _is_name(text, match.start("open"), at)):
                yield match.span("value")
            at = small.find(word, at + len(word))


def _is_name(text: bytes, end: int, at: int) -> bool:
    """Whether what ends before a member's value is the name of a secret, of which a word was found at a place."""
    name = text[max(0, at - _MAX_NAME_BYTES) : end].rstrip(b" \t:=").rstrip(b"\\\"'")
    return _FULL_NAME.search(name) is not None
