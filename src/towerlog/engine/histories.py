"""Histories in the content store: each distinct message once, each distinct prefix of a history once.

A prefix is named by a hash over the name of the prefix before it, the message and its meta; so a turn that re-sends
the whole history adds only its new messages, and a reader walks from the last node to the first.
"""

from __future__ import annotations

import hashlib

import msgspec

from towerlog.engine.plan import Plan
from towerlog.model.event import History
from towerlog.store.base import Message, Node

KEY_BYTES = 16


class Kept(msgspec.Struct, frozen=True):
    """Where a history lies: its last node (empty for the empty history)."""

    node: bytes
    length: int


def message_key(body: bytes) -> bytes:
    """The name of a message."""
    return hashlib.sha256(body).digest()[:KEY_BYTES]


def node_key(parent: bytes, message: bytes, meta: bytes | None) -> bytes:
    """The name of a prefix."""
    mark = b"-" if meta is None else b"+" + meta
    return hashlib.sha256(parent + message + mark).digest()[:KEY_BYTES]


def build_nodes(org: int, history: History) -> list[Node]:
    """Every prefix of a history as a node, first to last."""
    nodes: list[Node] = []
    parent = b""
    metas = history.meta if history.meta is not None else [None] * len(history.messages)
    for body, meta in zip(history.messages, metas, strict=True):
        message = message_key(body)
        key = node_key(parent, message, meta)
        nodes.append(Node(org, key, parent, message, meta))
        parent = key
    return nodes


async def keep_history(plan: Plan, org: int, history: History) -> Kept:
    """Adds what is new of a history to the plan."""
    nodes = build_nodes(org, history)
    if not nodes:
        return Kept(b"", 0)
    known = await _known_prefix(plan, org, nodes)
    for index in range(known, len(nodes)):
        plan.changes.nodes.append(nodes[index])
        plan.changes.messages.append(Message(org, nodes[index].message, history.messages[index]))
        plan.cache.nodes[_cache_key(org, nodes[index].key)] = True
    return Kept(nodes[-1].key, len(nodes))


async def _known_prefix(plan: Plan, org: int, nodes: list[Node]) -> int:
    """How many nodes are stored. A stored prefix has all its own prefixes stored, so a binary search finds the end."""
    for index in range(len(nodes) - 1, -1, -1):
        if plan.cache.nodes.get(_cache_key(org, nodes[index].key)):
            return index + 1
    low, high = 0, len(nodes)
    while low < high:
        middle = (low + high) // 2
        if await plan.unit.nodes_known(org, [nodes[middle].key]):
            low = middle + 1
        else:
            high = middle
    return low


def _cache_key(org: int, key: bytes) -> bytes:
    return org.to_bytes(4, "big") + key
