"""API keys as text: how one is made from random characters, recognised, and reduced to what may be stored.

`tl_<kind>_<8 characters>_<32 random><6 checksum>`. It is selected by a double-click, has a prefix that secret scanners
find, and a checksum that tells a mistyped or truncated key without a look-up. Pure: randomness is an argument.
"""

from __future__ import annotations

import hashlib
import zlib

import msgspec

from towerlog.model.principal import SCOPES_OF_ROLE, Scope, User

PUBLIC_LENGTH = 8
SECRET_LENGTH = 32
RANDOM_LENGTH = PUBLIC_LENGTH + SECRET_LENGTH
"""How many random characters `make_key` needs."""
CHECKSUM_LENGTH = 6
KINDS = ("live", "ro", "lane", "adm")
"""`live` for senders and readers, `ro` for reading only, `lane` for workers, `adm` for administrators."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def make_key(random: str, kind: str = "live") -> str:
    """The text of a new key from `RANDOM_LENGTH` random letters and digits."""
    if kind not in KINDS or len(random) != RANDOM_LENGTH or not (random.isascii() and random.isalnum()):
        raise ValueError(f"a key needs a known kind and {RANDOM_LENGTH} random letters and digits")
    body = f"tl_{kind}_{random[:PUBLIC_LENGTH]}_{random[PUBLIC_LENGTH:]}"
    return body + _checksum(body)


def is_intact(text: str) -> bool:
    """Whether a text has the form of a key and its checksum fits. Says nothing about whether the key is known."""
    parts = text.split("_")
    if len(parts) != 4 or parts[0] != "tl" or parts[1] not in KINDS or len(parts[2]) != PUBLIC_LENGTH:
        return False
    if len(parts[3]) != SECRET_LENGTH + CHECKSUM_LENGTH:
        return False
    return _checksum(text[:-CHECKSUM_LENGTH]) == text[-CHECKSUM_LENGTH:]


def digest_of(text: str) -> bytes:
    """What is stored of a key: SHA-256 of its text. A slow hash is not needed: a key has more than 190 random bits."""
    return hashlib.sha256(text.encode("utf-8")).digest()


def hint_of(text: str) -> str:
    """The beginning of a key, by which people recognise it; only four characters of a key that is not of our form.

    The hint of our own form holds no character of the 32 secret ones.
    """
    return text[: -SECRET_LENGTH - CHECKSUM_LENGTH] if is_intact(text) else text[:4]


def _checksum(body: str) -> str:
    # A checksum against typing errors, not against forgery: six base-62 digits hold 32 bits.
    number = zlib.crc32(body.encode("utf-8"))
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


class Key(msgspec.Struct, frozen=True):
    """An API key as it is stored: its SHA-256 only, never its text."""

    org: int
    key_id: str
    user_id: str
    name: str
    scopes: tuple[Scope, ...]
    digest: bytes
    hint: str
    """The first characters of the key, so that people can find it in a list."""
    created_at: int
    revoked_at: int | None = None


def key_of_member(member: User, digest: bytes = b"") -> Key:
    """What a key of a member would be. `digest`: of the session by which it is known."""
    scopes = tuple(sorted(SCOPES_OF_ROLE[member.role]))
    org, user_id = member.org, member.user_id
    return Key(org, user_id, user_id, member.name, scopes, digest, "", member.created_at, member.removed_at)


class KeyFound(msgspec.Struct, frozen=True):
    """A key with the organisation that it belongs to; or a member's session, as what a key of that member would be."""

    key: Key
    """Of a session: its id is the user's, and it is revoked where the session or the member is over."""
    org_id: str
    expires_at: int | None = None
    """Of a session; wall ms."""
    seen_at: int | None = None
    """Of a session: when it was used last, wall ms."""
