"""The parts of a history as a store keeps them: each message once, prefixes in blocks, lists of metas."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False):
    """A distinct message of an organisation, keyed by the hash of its text (16 bytes)."""

    org: int
    key: bytes
    body: bytes


class HistoryNode(msgspec.Struct, frozen=True, gc=False):
    """A history's last message, or its last messages, and the history before it. Keyed by hash (16 bytes).

    `parent` is empty at the beginning. A history is one node; every prefix of it that has a node is stored once, and
    so is all that is before a node.
    """

    org: int
    key: bytes
    parent: bytes
    message: bytes
    length: int
    """How many messages the history has."""
    block: bytes = b""
    """JSON array of several messages, which are kept as one; `message` is empty then."""


class MetaList(msgspec.Struct, frozen=True, gc=False):
    """The metas of a history: those of an earlier list (`parent`, empty for none) and then these. Keyed by hash.

    Unlike messages, metas are kept a turn at a time: a sender that dates all of them anew each turn costs one row.
    """

    org: int
    key: bytes
    parent: bytes
    body: bytes
    """JSON array of the entries after the parent's."""


Content = Message | HistoryNode | MetaList
