"""Signed links by which one approval is answered once: how they are written into a token, and read from one.

A token is what its link says, signed and hidden with a secret of the store: who has a link learns of nobody's id by it.
Nothing is stored until it is used.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from towerlog.model.alert import AlertRule
from towerlog.model.approval import AnswerLink
from towerlog.model.key import Key
from towerlog.model.principal import Scope

NO_LINK = "There is no such link, or whoever made it may not any more."
MAX_TOKEN_CHARS = 2048
DEFAULT_LINK_SECONDS = 24 * 3600
MAX_LINK_SECONDS = 30 * 24 * 3600
NONCE_CHARS = 24
MAX_SENT_TO_CHARS = 200
_PURPOSE = b"towerlog answer link"
_HIDING = b"towerlog answer link: what it says"
_DIGEST_BYTES = hashlib.sha256().digest_size


class _Written(msgspec.Struct, frozen=True, array_like=True):
    """A link as a token has it."""

    link: AnswerLink


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Written).decode


class LinkAddress(msgspec.Struct, frozen=True):
    """Where the links of a server lead, and what they are signed with."""

    public_url: str
    """Without a slash at its end."""
    secret: str

    def url_of(self, link: AnswerLink) -> str:
        """The whole address."""
        return self.public_url + path_of(self.secret, link)


def path_of(secret: str, link: AnswerLink) -> str:
    """Where the page to answer on is, below the address of the server."""
    return f"/a/{seal(secret, link)}"


def seal(secret: str, link: AnswerLink) -> str:
    """The token: letters, digits, `-` and `_`."""
    text = _encode(_Written(link))
    signature = _signature(secret, text)
    return _spelled(signature + _hidden(secret, signature, text))


def opened(secret: str, token: str) -> AnswerLink | None:
    """What a token of ours says; None for one that was not signed with this secret, or was changed."""
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        return None
    try:
        sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    signature = sealed[:_DIGEST_BYTES]
    text = _hidden(secret, signature, sealed[_DIGEST_BYTES:])
    if not hmac.compare_digest(signature, _signature(secret, text)):
        return None
    # Base64 has several spellings of one value; only the one that is written here is read.
    return _decode(text).link if _spelled(sealed) == token else None


def may_answer_by_link(maker: Key | None) -> bool:
    """Whether links are good that this key, or this member, has made."""
    return maker is not None and maker.revoked_at is None and not {Scope.CONTROL, Scope.ADMIN}.isdisjoint(maker.scopes)


def is_told_by(rule: AlertRule | None, link: AnswerLink) -> bool:
    """Whether a rule still tells the channel whose message carried the link."""
    return rule is not None and any(one.fingerprint() == link.channel for one in rule.channels)


def _spelled(sealed: bytes) -> str:
    return urlsafe_b64encode(sealed).decode("ascii").rstrip("=")


def _hidden(secret: str, signature: bytes, text: bytes) -> bytes:
    """The text hidden, or what was hidden as text: under a stream of bytes that the signature of the text begins, so
    that no two texts have the same (the construction SIV, RFC 5297, of HMAC)."""
    key = hmac.digest(secret.encode(), _HIDING, hashlib.sha256)
    blocks = range(-(-len(text) // _DIGEST_BYTES))
    stream = b"".join(hmac.digest(key, signature + number.to_bytes(4, "big"), hashlib.sha256) for number in blocks)
    return bytes(one ^ other for one, other in zip(text, stream, strict=False))


def _signature(secret: str, text: bytes) -> bytes:
    """For this purpose alone: the store's secret signs other things as well."""
    key = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)
    return hmac.digest(key, text, hashlib.sha256)
