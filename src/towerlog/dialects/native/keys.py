"""Native endpoints of API keys: list, create, revoke. The text of a key is only in the reply that creates it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import decode, given_name, invalid_field, path_uuid
from towerlog.dialects.native import shapes
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_cursor
from towerlog.model.command import CreateKey, RevokeKey
from towerlog.model.key import Key
from towerlog.model.outcome import KeyMinted, Page
from towerlog.model.principal import Scope
from towerlog.model.question import ListKeys

ADMIN = scopes()
ANYBODY = frozenset(Scope)
"""Every scope: any key may ask."""


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to create."""

    name: Annotated[str, v.said("A name for people.", "build agent")]
    scopes: Annotated[list[Scope], v.said("What the key may do.", ["ingest"])]


_KEY_BODY = msgspec.json.Decoder(KeyBody)


def _decode_keys(call: Call) -> ListKeys:
    return ListKeys(limit_of(call), read_cursor("keys", call.query.get("cursor")))


def _encode_keys(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("keys", outcome, shapes.key_of)


def _decode_create(call: Call) -> CreateKey:
    body = decode(_KEY_BODY, call.body)
    name = given_name(body.name, "name")
    if not body.scopes:
        raise invalid_field("scopes", "must name at least one scope")
    return CreateKey(name, tuple(dict.fromkeys(body.scopes)))


def _encode_create(outcome: KeyMinted, command: object, call: Call) -> Reply:
    known = msgspec.structs.asdict(shapes.key_of(outcome.key))
    return reply_json(shapes.NewApiKey(**known, key=outcome.text or None), 201, ((b"cache-control", b"no-store"),))


def _decode_revoke(call: Call) -> RevokeKey:
    return RevokeKey(path_uuid(call.path["key_id"], "key"))


def _encode_revoke(outcome: Key, command: object, call: Call) -> Reply:
    return reply_json(shapes.key_of(outcome))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/keys", "list_keys", "Keys of the organisation, newest first.", ADMIN,
        _decode_keys, _encode_keys, query=CursorQuery, reply=Listing[shapes.ApiKey],
    ),
    Endpoint(
        "POST", "/api/v1/keys", "create_key", "Create a key; its text is shown only once.", ADMIN,
        _decode_create, _encode_create, request=KeyBody, reply=shapes.NewApiKey, reply_status=201, replay=False,
    ),
    Endpoint(
        "DELETE", "/api/v1/keys/{key_id}", "revoke_key", "Revoke a key; open streams end within five seconds.", ADMIN,
        _decode_revoke, _encode_revoke, reply=shapes.ApiKey,
    ),
)  # fmt: skip
"""The endpoints of keys."""
