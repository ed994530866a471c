"""Reads signed tokens that come from outside: whatever stands in one, it is read or refused."""

from __future__ import annotations

from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

UNREADABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What `joserfc` raises for a token or a key that is not good, or of which a member is of another type."""


class BadToken(Exception):
    """It is not signed by the key, not of this time, or no token; the words are for the log."""


def claims_of(text: str, key: Key | KeySet, algorithms: list[str], registry: jwt.JWTClaimsRegistry) -> dict[str, Any]:
    """What a token says, once its signature and its claims are found good. Raises BadToken."""
    try:
        token = jwt.decode(text, key, algorithms=algorithms)
        registry.validate(token.claims)
    except UNREADABLE as error:
        raise BadToken(type(error).__name__) from None
    return dict(token.claims)


def key_set_of(keys: Any) -> KeySet:
    """A provider's keys, from their JSON. Raises BadToken."""
    try:
        return KeySet.import_key_set(keys)
    except UNREADABLE as error:
        raise BadToken(type(error).__name__) from None
