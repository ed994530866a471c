"""Signatures of webhooks as the specification Standard Webhooks has them: headers, secrets, several secrets at a time.

https://www.standardwebhooks.com. The receiver checks that a message is ours, as we have signed it, and new.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence

from towerlog.ambient import Ids

SECRET_PREFIX = "whsec_"
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
MAX_SECRETS = 8
"""That sign one message: old ones are kept while receivers change to a new one."""

_SECRET_CHARS = 48
"""Of the source of a secret: more than 256 bits in an alphabet of 54."""
_WEBHOOK_ID = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)


class BadSecret(ValueError):
    """Not a secret of a webhook; the message does not repeat it."""


def make_secret(ids: Ids) -> str:
    """A new secret: `whsec_` and 32 random bytes in base64."""
    digest = hashlib.sha256(ids.token(_SECRET_CHARS).encode()).digest()
    return SECRET_PREFIX + base64.b64encode(digest).decode()


def key_of(secret: str) -> bytes:
    """The bytes that a secret stands for. Raises BadSecret for what is no secret, in words for whoever gave it."""
    if not secret.startswith(SECRET_PREFIX):
        raise BadSecret(f"a webhook's secret begins with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        raise BadSecret(f"a webhook's secret is base64 after {SECRET_PREFIX}") from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise BadSecret(f"a webhook's secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, this one {len(key)}")
    return key


def signed_headers(secrets: Sequence[str], webhook_id: str, sent_at_s: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt to deliver `body`: one signature for each secret, the first one first.

    `webhook_id` names the message and is the same in every attempt, so that a receiver takes it once; letters, digits,
    `_` and `-`, since a dot would part what is signed in another way. `sent_at_s` is the time of the attempt in seconds
    since the Unix epoch: receivers refuse what is more than five minutes off. Raises BadSecret, or ValueError for
    another id or number of secrets.
    """
    if not _WEBHOOK_ID.fullmatch(webhook_id):
        raise ValueError("a webhook's id has letters, digits, _ and - only")
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise ValueError(f"a webhook is signed with 1 to {MAX_SECRETS} secrets")
    signed = f"{webhook_id}.{sent_at_s}.".encode() + body
    signatures = (hmac.digest(key_of(secret), signed, "sha256") for secret in secrets)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
    }
