"""Histories in the content store: of short ones each distinct message and each distinct prefix is kept once.

A prefix is named by a hash over the name of the prefix before it and its last message; so a turn that re-sends the
whole history adds only its new messages, and a reader walks from the last node to the first. A sender that knows the
name of a stored prefix may send that as the base of its history, and only the messages after it. The metas beside the
messages are kept in the same way, but a turn at a time: see `MetaList`. Long histories are kept in blocks: see
`long_histories`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec

from towerlog.engine.commit.turn import ContentGone
from towerlog.engine.load.cache import metas_mark, org_mark
from towerlog.engine.load.rows import Known, Needs
from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Draft, History, StoredHistory
from towerlog.model.names import META, block_names, message_name, metas_name, prefix_names
from towerlog.model.texts import Texts
from towerlog.store.content import Content, HistoryNode, Message, MetaList
from towerlog.store.values import Kind


def own_name(content: Content) -> bytes:
    """The name that content gives itself; another one stored beside it tells that the content was changed."""
    match content:
        case Message():
            return message_name(content.body)
        case HistoryNode():
            names = [content.message] if not content.block else block_names(content.block)
            return prefix_names(names, content.parent)[-1]
        case MetaList():
            return metas_name(content.body, content.parent)
        case _:
            assert_never(content)


class _Prefixes(msgspec.Struct, frozen=True):
    """The prefixes of a list, the shortest first."""

    names: tuple[bytes, ...]
    keys: list[bytes]
    """What the cache and the plan know each by: its name among those of all organisations, of histories or of metas."""


class _Names(msgspec.Struct, frozen=True):
    """What a history on its way in is made of: named once, for the needs and for placing."""

    messages: list[bytes]
    nodes: _Prefixes
    metas: _Prefixes


def _names_of(known: Known, org: int, history: History) -> _Names:
    found: _Names | None = known.notes.get(id(history))  # it lives as long as its command
    if found is None:
        messages = [message_name(body) for body in history.messages]
        metas = [META + meta for meta in history.meta or ()]
        node = b"" if history.base is None else history.base.node
        nodes = _prefixes(org_mark(org), messages, node)
        found = known.notes[id(history)] = _Names(messages, nodes, _prefixes(metas_mark(org), metas))
    return found


def _prefixes(mark: bytes, members: list[bytes], parent: bytes = b"") -> _Prefixes:
    """`mark`: what stands before each name where those of all organisations are."""
    names = prefix_names(members, parent)
    return _Prefixes(tuple(names), [mark + name for name in names])


def needs_of_history(needs: Needs, org: int, history: History) -> None:
    """How much of it is stored; nothing where a prefix was seen lately. Of what was stored before its event, whether it
    is still there: an erasure may have come between."""
    cached, base, stored = needs.cache.nodes, history.base, history.stored
    if stored is not None:
        needs_of_stored(needs, org, stored.node)
        needs_of_stored(needs, org, stored.metas, of_metas=True)
    if stored is not None or history.is_long:
        return
    if base is not None and org_mark(org) + base.node not in cached:
        needs.want(Kind.CHAIN, (org, base.node))
    names = _names_of(needs.known, org, history)
    for kind, prefixes in ((Kind.NODES, names.nodes), (Kind.METAS, names.metas)):
        if prefixes.keys and cached.keys().isdisjoint(prefixes.keys):
            needs.want(kind, (org, prefixes.names))


def needs_of_stored(needs: Needs, org: int, key: bytes, *, of_metas: bool = False) -> None:
    """Whether a node or a list of metas is there, unless it is no name at all: see `is_stored`."""
    if key and (metas_mark(org) if of_metas else org_mark(org)) + key not in needs.cache.nodes:
        needs.want(*_place_of(org, key, of_metas))


def _place_of(org: int, key: bytes, of_metas: bool) -> tuple[Kind, Any]:
    return (Kind.METAS, (org, (key,))) if of_metas else (Kind.CHAIN, (org, key))


def is_stored(plan: Plan, org: int, key: bytes, *, of_metas: bool = False) -> bool:
    """Whether a node or a list of metas is stored, or about to be; what has no name is. With it is all before it: no
    erasure takes what something goes on from."""
    if not key:
        return True
    name = (metas_mark(org) if of_metas else org_mark(org)) + key
    return name in plan.content or name in plan.cache.nodes or bool(plan.loaded(*_place_of(org, key, of_metas)))


def has_base(plan: Plan, org: int, history: History) -> bool:
    """Whether what a history goes on from is stored, or about to be, and as long as it says; it may be nothing.

    Of a long one: whether it was when the history itself was to be stored. What came later helps it no more; sent
    again, it is stored. Raises ContentGone where it was stored and is there no more.
    """
    base, stored = history.base, history.stored
    if stored is not None:
        if not (is_stored(plan, org, stored.node) and is_stored(plan, org, stored.metas, of_metas=True)):
            raise ContentGone(retry_after=1)
        return True
    if base is None:
        return True
    if history.is_long:
        return False
    key = org_mark(org) + base.node
    length = plan.content.get(key) or plan.cache.nodes.get(key) or plan.loaded(Kind.CHAIN, (org, base.node))
    return bool(length == base.length)


def came_too_early(history: History) -> bool:
    """Whether a long history was not stored although it goes on from nothing: its sender had no lease then."""
    return history.is_long and history.stored is None and history.base is None


def keep_history(plan: Plan, org: int, history: History) -> StoredHistory:
    """Adds what is new of a history to the plan. Its base must be stored: see `has_base`."""
    if history.stored is not None:
        return history.stored
    names = _names_of(plan.known, org, history)
    nodes = names.nodes.names
    last, length = (b"", 0) if history.base is None else (history.base.node, history.base.length)
    known = _known_length(plan, Kind.NODES, org, names.nodes)
    above = nodes[known - 1] if known else last
    rows = [
        HistoryNode(org, node, parent, name, place)
        for place, (node, parent, name) in enumerate(
            zip(nodes[known:], (above, *nodes[known:-1]), names.messages[known:], strict=False), length + known + 1
        )
    ]
    texts = [Message(org, *one) for one in zip(names.messages[known:], history.messages[known:], strict=True)]
    lengths = range(length + known + 1, length + len(nodes) + 1)
    plan.keep_nodes(rows, texts, zip(names.nodes.keys[known:], lengths, strict=True))
    metas = b"" if history.meta is None else _keep_metas(plan, org, history.meta, names.metas)
    return StoredHistory(nodes[-1] if nodes else last, length + len(history.messages), metas)


def _keep_metas(plan: Plan, org: int, metas: Sequence[bytes], prefixes: _Prefixes) -> bytes:
    """One row for all metas after the longest list that is stored; none when the whole list is."""
    names, known = prefixes.names, _known_length(plan, Kind.METAS, org, prefixes)
    if known < len(names):
        body = b"[" + b",".join(metas[known:]) + b"]"
        row = MetaList(org, names[-1], names[known - 1] if known else b"", body)
        plan.keep_metas(row, prefixes.keys[-1], len(names))
    return names[-1] if names else b""


def _known_length(plan: Plan, kind: Kind, org: int, prefixes: _Prefixes) -> int:
    """How long the longest prefix is that is stored or about to be."""
    cached, about, keys = plan.cache.nodes, plan.content, prefixes.keys
    # A long history of which nothing is known would be gone through here, one by one.
    if not (about.keys().isdisjoint(keys) and cached.keys().isdisjoint(keys)):
        for length in range(len(keys), 0, -1):
            if keys[length - 1] in about or keys[length - 1] in cached:
                return length
    return (plan.loaded(kind, (org, prefixes.names)) or 0) if prefixes.names else 0


def body_as_sent(draft: Draft) -> bytes:
    """The body of a draft with its history, which goes its own way, put back in."""
    history = draft.history
    if history is None:
        return draft.data
    members: dict[str, object] = {"history": _as_array(history.messages)}
    if history.base is not None:
        members["base"] = {"node": history.base.node.hex(), "length": history.base.length}
    if history.meta is not None:
        members["history_meta"] = _as_array(history.meta)
    rest = draft.data[1:].lstrip()
    return msgspec.json.encode(members)[:-1] + (b"" if rest.startswith(b"}") else b",") + rest


def _as_array(texts: Sequence[bytes]) -> msgspec.Raw:
    """A JSON array of texts. There may be ten thousands: where they are held as one, none of them is made."""
    held = Texts.of(texts)
    return msgspec.Raw(held.array(0, len(held)))
