"""Reads signed tokens that come from outside: whatever stands in one, it is read or refused.

`joserfc` is imported where it is used, for its memory: most servers have no identity provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joserfc import jwt
    from joserfc.jwk import Key, KeySet


class BadToken(Exception):
    """It is not signed by the key, not of this time, or no token; the words are for the log."""


def claims_of(text: str, key: Key | KeySet, algorithms: list[str], registry: jwt.JWTClaimsRegistry) -> dict[str, Any]:
    """What a token says, once its signature and its claims are found good. Raises BadToken."""
    from joserfc import jwt

    try:
        token = jwt.decode(text, key, algorithms=algorithms)
        registry.validate(token.claims)
    except _unreadable() as error:
        raise BadToken(type(error).__name__) from None
    return dict(token.claims)


def key_set_of(keys: Any) -> KeySet:
    """A provider's keys, from their JSON. Raises BadToken."""
    from joserfc.jwk import KeySet

    try:
        return KeySet.import_key_set(keys)
    except _unreadable() as error:
        raise BadToken(type(error).__name__) from None


def _unreadable() -> tuple[type[Exception], ...]:
    """What `joserfc` raises for a token or a key that is not good, and where a member is of a type that it does not
    read."""
    from joserfc.errors import JoseError

    return JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError
