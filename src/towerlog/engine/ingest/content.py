"""Histories in the content store: each distinct message once, each distinct prefix of a history once.

A prefix is named by a hash over the name of the prefix before it and its last message; so a turn that re-sends the
whole history adds only its new messages, and a reader walks from the last node to the first. The metas beside the
messages are kept in the same way, but a turn at a time: see `MetaList`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import assert_never

import msgspec

from towerlog.engine.commit.plan import Plan
from towerlog.model.event import History
from towerlog.store.values import Content, HistoryNode, Message, MetaList

KEY_BYTES = 16
ASKED_AT_ONCE = 512
"""A history no longer than this is looked up in one question instead of a binary search."""
_META = b"meta:"
"""Keeps the names of meta lists apart from those of histories."""
_decode_metas = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Kept(msgspec.Struct, frozen=True):
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


async def keep_history(plan: Plan, org: int, history: History) -> Kept:
    """Adds what is new of a history to the plan."""
    node = await _keep_messages(plan, org, history.messages)
    metas = b"" if history.meta is None else await _keep_metas(plan, org, history.meta)
    return Kept(node, len(history.messages), metas)


async def _keep_messages(plan: Plan, org: int, messages: list[bytes]) -> bytes:
    names = [name_of(body) for body in messages]
    prefixes = prefix_names(names)
    known = await _known_prefix(plan, org, prefixes)
    for index in range(known, len(prefixes)):
        parent = prefixes[index - 1] if index else b""
        plan.changes.nodes.append(HistoryNode(org, prefixes[index], parent, names[index]))
        plan.changes.messages.append(Message(org, names[index], messages[index]))
        plan.cache.nodes[_cache_key(org, prefixes[index])] = True
    return prefixes[-1] if prefixes else b""


async def _known_prefix(plan: Plan, org: int, prefixes: list[bytes]) -> int:
    """How many nodes are stored. A stored prefix has all its own prefixes stored, so a binary search finds the end."""
    for index in range(len(prefixes) - 1, -1, -1):
        if _cache_key(org, prefixes[index]) in plan.cache.nodes:
            return index + 1
    if len(prefixes) <= ASKED_AT_ONCE:
        stored = await plan.unit.nodes_known(org, prefixes)
        return sum(prefix in stored for prefix in prefixes)
    low, high = 0, len(prefixes)
    while low < high:
        middle = (low + high) // 2
        if await plan.unit.nodes_known(org, [prefixes[middle]]):
            low = middle + 1
        else:
            high = middle
    return low


async def _keep_metas(plan: Plan, org: int, metas: list[bytes]) -> bytes:
    """One row for all metas after the longest list that is stored; none when the whole list is."""
    prefixes = prefix_names(_META + meta for meta in metas)
    known = await _known_list(plan, org, prefixes)
    if known < len(prefixes):
        parent = prefixes[known - 1] if known else b""
        body = b"[" + b",".join(metas[known:]) + b"]"
        plan.changes.metas.append(MetaList(org, prefixes[-1], parent, body))
        plan.cache.nodes[_cache_key(org, prefixes[-1])] = True
    return prefixes[-1] if prefixes else b""


async def _known_list(plan: Plan, org: int, prefixes: list[bytes]) -> int:
    """The length of the longest prefix that is stored. Only the ends of turns are, so each has to be asked for."""
    for index in range(len(prefixes) - 1, -1, -1):
        if _cache_key(org, prefixes[index]) in plan.cache.nodes:
            return index + 1
    stored = await plan.unit.metas_known(org, prefixes)
    return next((index + 1 for index in range(len(prefixes) - 1, -1, -1) if prefixes[index] in stored), 0)


def _cache_key(org: int, key: bytes) -> bytes:
    return org.to_bytes(4, "big") + key
