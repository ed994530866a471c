"""Histories in the content store: each distinct message once, each distinct prefix of a history once.

A prefix is named by a hash over the name of the prefix before it and its last message; so a turn that re-sends the
whole history adds only its new messages, and a reader walks from the last node to the first. A sender that knows the
name of a stored prefix may send that as the base of its history, and only the messages after it. The metas beside the
messages are kept in the same way, but a turn at a time: see `MetaList`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import assert_never

import msgspec

from towerlog.engine.commit.load import Known, Needs
from towerlog.engine.commit.plan import Plan, node_key
from towerlog.model.event import History, HistoryBase
from towerlog.store.values import Content, HistoryNode, Kind, Message, MetaList

KEY_BYTES = 16
_META = b"meta:"
"""Keeps the names of meta lists apart from those of histories."""
_decode_metas = msgspec.json.Decoder(list[msgspec.Raw]).decode


class StoredHistory(msgspec.Struct, frozen=True):
    """Where a history lies: its last node and its last meta list, empty for empty ones."""

    node: bytes
    length: int
    metas: bytes


def name_of(body: bytes) -> bytes:
    """The name of a message."""
    return hashlib.sha256(body).digest()[:KEY_BYTES]


def own_name(content: Content) -> bytes:
    """The name that content gives itself; another one stored beside it tells that the content was changed."""
    match content:
        case Message():
            return name_of(content.body)
        case HistoryNode():
            return prefix_names([content.message], content.parent)[-1]
        case MetaList():
            metas = [_META + bytes(meta) for meta in _decode_metas(content.body)]
            return prefix_names(metas, content.parent)[-1]
        case _:
            assert_never(content)


def prefix_names(names: Iterable[bytes], parent: bytes = b"") -> list[bytes]:
    """The name of every prefix of a list that goes on from `parent`, from the names (or texts) of its members."""
    prefixes: list[bytes] = []
    for name in names:
        parent = hashlib.sha256(parent + name).digest()[:KEY_BYTES]
        prefixes.append(parent)
    return prefixes


class _Names(msgspec.Struct, frozen=True):
    """What a history on its way in is made of: named once, for the needs and for placing."""

    messages: list[bytes]
    prefixes: tuple[bytes, ...]
    metas: tuple[bytes, ...]


def _names_of(known: Known, history: History) -> _Names:
    found: _Names | None = known.notes.get(id(history))  # it lives as long as its command
    if found is None:
        messages = [name_of(body) for body in history.messages]
        metas = prefix_names(_META + meta for meta in history.meta or ())
        parent = b"" if history.base is None else history.base.node
        found = known.notes[id(history)] = _Names(messages, tuple(prefix_names(messages, parent)), tuple(metas))
    return found


def needs_of_history(needs: Needs, org: int, history: History) -> None:
    """How much of it is stored; nothing where a prefix of it was seen lately."""
    base = history.base
    if base is not None and node_key(org, base.node) not in needs.known.cache.nodes:
        needs.want(Kind.CHAIN, (org, base.node))
    names = _names_of(needs.known, history)
    for kind, prefixes in ((Kind.NODES, names.prefixes), (Kind.METAS, names.metas)):
        if prefixes and not _cached_prefix(needs.known, org, prefixes):
            needs.want(kind, (org, prefixes))


def has_base(plan: Plan, org: int, base: HistoryBase) -> bool:
    """Whether a history is stored, or about to be, that has this node and this many messages."""
    key = node_key(org, base.node)
    length = plan.keeps(org, base.node) or plan.cache.nodes.get(key) or plan.loaded(Kind.CHAIN, (org, base.node))
    return bool(length == base.length)


def keep_history(plan: Plan, org: int, history: History) -> StoredHistory:
    """Adds what is new of a history to the plan. Its base must be stored: see `has_base`."""
    names = _names_of(plan.known, history)
    node, length = (b"", 0) if history.base is None else (history.base.node, history.base.length)
    known = _known_length(plan, Kind.NODES, org, names.prefixes)
    for index in range(known, len(names.prefixes)):
        parent = names.prefixes[index - 1] if index else node
        plan.keep_node(HistoryNode(org, names.prefixes[index], parent, names.messages[index]), length + index + 1)
        plan.changes.messages.append(Message(org, names.messages[index], history.messages[index]))
    metas = b"" if history.meta is None else _keep_metas(plan, org, history.meta, names.metas)
    return StoredHistory(names.prefixes[-1] if names.prefixes else node, length + len(history.messages), metas)


def _keep_metas(plan: Plan, org: int, metas: list[bytes], prefixes: tuple[bytes, ...]) -> bytes:
    """One row for all metas after the longest list that is stored; none when the whole list is."""
    known = _known_length(plan, Kind.METAS, org, prefixes)
    if known < len(prefixes):
        parent = prefixes[known - 1] if known else b""
        body = b"[" + b",".join(metas[known:]) + b"]"
        plan.keep_metas(MetaList(org, prefixes[-1], parent, body), len(prefixes))
    return prefixes[-1] if prefixes else b""


def _known_length(plan: Plan, kind: Kind, org: int, prefixes: tuple[bytes, ...]) -> int:
    """How long the longest prefix is that is stored or about to be."""
    if not prefixes:
        return 0
    for index in range(len(prefixes) - 1, -1, -1):
        if plan.keeps(org, prefixes[index]) is not None:
            return index + 1
    return _cached_prefix(plan.known, org, prefixes) or plan.loaded(kind, (org, prefixes)) or 0


def _cached_prefix(known: Known, org: int, prefixes: tuple[bytes, ...]) -> int:
    """The length of the longest prefix that was seen lately; 0 for none."""
    nodes = known.cache.nodes
    for index in range(len(prefixes) - 1, -1, -1):
        if node_key(org, prefixes[index]) in nodes:
            return index + 1
    return 0
