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

from towerlog.engine.commit.cache import org_mark
from towerlog.engine.commit.load import Known, Needs
from towerlog.engine.commit.plan import Plan
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


class _Prefixes(msgspec.Struct, frozen=True):
    """The prefixes of a list, the shortest first."""

    names: tuple[bytes, ...]
    keys: list[bytes]
    """What the cache and the plan know each by: its name among those of all organisations."""


class _Names(msgspec.Struct, frozen=True):
    """What a history on its way in is made of: named once, for the needs and for placing."""

    messages: list[bytes]
    nodes: _Prefixes
    metas: _Prefixes
    node_rows: list[HistoryNode] = []
    message_rows: list[Message] = []
    """The rows of the nodes and the messages, where they were made before."""


def _names_of(known: Known, org: int, history: History) -> _Names:
    found: _Names | None = history.named or known.notes.get(id(history))  # it lives as long as its command
    if found is None:
        found = known.notes[id(history)] = _named(org, history)
    return found


def _named(org: int, history: History) -> _Names:
    messages = [name_of(body) for body in history.messages]
    metas = [_META + meta for meta in history.meta or ()]
    node = b"" if history.base is None else history.base.node
    return _Names(messages, _prefixes(org, messages, node), _prefixes(org, metas))


def named(org: int, history: History) -> History:
    """The history with its names and the rows of all its nodes and messages: worked out where nobody waits for it."""
    names = _named(org, history)
    count = range(len(names.messages))
    rows = [_node_row(org, history, names, index) for index in count]
    texts = [Message(org, names.messages[index], history.messages[index]) for index in count]
    return msgspec.structs.replace(history, named=msgspec.structs.replace(names, node_rows=rows, message_rows=texts))


def _node_row(org: int, history: History, names: _Names, index: int) -> HistoryNode:
    nodes = names.nodes.names
    before = nodes[index - 1] if index else b"" if history.base is None else history.base.node
    return HistoryNode(org, nodes[index], before, names.messages[index])


def _prefixes(org: int, members: list[bytes], parent: bytes = b"") -> _Prefixes:
    names, mark = prefix_names(members, parent), org_mark(org)
    return _Prefixes(tuple(names), [mark + name for name in names])


def needs_of_history(needs: Needs, org: int, history: History) -> None:
    """How much of it is stored; nothing where a prefix of it was seen lately."""
    names, cached, base = _names_of(needs.known, org, history), needs.cache.nodes, history.base
    if base is not None and org_mark(org) + base.node not in cached:
        needs.want(Kind.CHAIN, (org, base.node))
    for kind, prefixes in ((Kind.NODES, names.nodes), (Kind.METAS, names.metas)):
        if prefixes.keys and not any(key in cached for key in prefixes.keys):
            needs.want(kind, (org, prefixes.names))


def has_base(plan: Plan, org: int, base: HistoryBase) -> bool:
    """Whether a history is stored, or about to be, that has this node and this many messages."""
    key = org_mark(org) + base.node
    length = plan.content.get(key) or plan.cache.nodes.get(key) or plan.loaded(Kind.CHAIN, (org, base.node))
    return bool(length == base.length)


def keep_history(plan: Plan, org: int, history: History) -> StoredHistory:
    """Adds what is new of a history to the plan. Its base must be stored: see `has_base`."""
    names = _names_of(plan.known, org, history)
    nodes = names.nodes.names
    last, length = (b"", 0) if history.base is None else (history.base.node, history.base.length)
    known = _known_length(plan, Kind.NODES, org, names.nodes)
    new = range(known, len(nodes))
    rows = names.node_rows[known:] or [_node_row(org, history, names, index) for index in new]
    texts = names.message_rows[known:]
    texts = texts or [Message(org, names.messages[index], history.messages[index]) for index in new]
    lengths = range(length + known + 1, length + len(nodes) + 1)
    plan.keep_nodes(rows, texts, zip(names.nodes.keys[known:], lengths, strict=True))
    metas = b"" if history.meta is None else _keep_metas(plan, org, history.meta, names.metas)
    return StoredHistory(nodes[-1] if nodes else last, length + len(history.messages), metas)


def _keep_metas(plan: Plan, org: int, metas: list[bytes], prefixes: _Prefixes) -> bytes:
    """One row for all metas after the longest list that is stored; none when the whole list is."""
    names, known = prefixes.names, _known_length(plan, Kind.METAS, org, prefixes)
    if known < len(names):
        body = b"[" + b",".join(metas[known:]) + b"]"
        row = MetaList(org, names[-1], names[known - 1] if known else b"", body)
        plan.keep_metas(row, prefixes.keys[-1], len(names))
    return names[-1] if names else b""


def _known_length(plan: Plan, kind: Kind, org: int, prefixes: _Prefixes) -> int:
    """How long the longest prefix is that is stored or about to be."""
    cached, about = plan.cache.nodes, plan.content
    for length in range(len(prefixes.keys), 0, -1):
        key = prefixes.keys[length - 1]
        if key in about or key in cached:
            return length
    return (plan.loaded(kind, (org, prefixes.names)) or 0) if prefixes.names else 0
