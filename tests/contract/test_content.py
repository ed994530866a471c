"""Content: each message once, each prefix of a history once, read back exactly; and the replies that are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from tests.support.factories import identity
from tests.support.fakes import START_MS
from tests.support.lookups import looked_up
from tests.support.tables import table
from towerlog.errors import Damaged
from towerlog.model.names import block_names, message_name, metas_name, prefix_names
from towerlog.store.base import Store
from towerlog.store.content import HistoryNode, Message, MetaList
from towerlog.store.values import Changes, Kind, StoredReply

TEXTS = [
    b'{"role":"user","content":"hello"}',
    b'{"role":"assistant","content":null,"tool_calls":[{"b":1,"a":2}]}',
    b'{"z":"\\u0000","a":"\\ud800 \\u00e9","nested":{"k":[1,2.50,1e3]}}',
    '{"text":"ünïcode 𝄞"}'.encode(),
    b'{"long":"' + b"abcdefghij" * 2000 + b'"}',
    b'{"role":"user","content":"hello"}',
]


@asynccontextmanager
async def refused() -> AsyncIterator[None]:
    """What is not what was written is not handed out."""
    with pytest.raises(Damaged):
        yield


def history(org: int, texts: list[bytes]) -> Changes:
    """The changes that keep a history; its last node is the last of `nodes`."""
    changes = Changes()
    parent = b""
    for place, text in enumerate(texts, 1):
        name = message_name(text)
        key = prefix_names([name], parent)[-1]
        changes.messages.append(Message(org, name, text))
        changes.nodes.append(HistoryNode(org, key, parent, name, place))
        parent = key
    return changes


async def commit(store: Store, changes: Changes) -> None:
    async with store.begin() as unit:
        await unit.commit(changes)


async def test_a_history_is_read_back_as_it_was_sent(store: Store, org: int) -> None:
    kept = history(org, TEXTS)
    await commit(store, kept)
    assert await store.history(org, kept.nodes[-1].key, len(TEXTS)) == TEXTS


async def test_a_meta_list_is_read_back_part_by_part(store: Store, org: int, other: int) -> None:
    long = b'["' + b"abcdefghij" * 200 + b'"]'
    one = metas_name(b"[1,null]")
    two = metas_name(long, one)
    await commit(store, Changes(metas=[MetaList(org, one, b"", b"[1,null]"), MetaList(org, two, one, long)]))
    assert await store.metas(org, two) == [b"[1,null]", long]
    assert await store.metas(org, one) == [b"[1,null]"]
    async with refused():
        await store.metas(other, two)
    async with store.begin() as unit:
        ours, theirs = (org, (one, b"3")), (other, (one,))
        assert await looked_up(unit, Kind.METAS, ours, theirs) == {ours: 1, theirs: 0}
        assert await looked_up(unit, Kind.METAS, longest := (org, (b"0", two, b"3"))) == {longest: 2}


async def test_what_is_not_what_was_written_is_not_handed_out(store: Store, org: int) -> None:
    kept = history(org, TEXTS[:3])
    kept.messages[1] = msgspec.structs.replace(kept.messages[1], body=b'{"other":1}')
    await commit(store, kept)
    assert await store.history(org, kept.nodes[0].key, 1) == TEXTS[:1]
    for length in (2, 3):
        async with refused():
            await store.history(org, kept.nodes[length - 1].key, length)
    before = store.damages.found
    rotten = MetaList(org, metas_name(b"[1]"), b"", b"[2]")
    await commit(store, Changes(metas=[rotten]))
    async with refused():
        await store.metas(org, rotten.key)
    assert store.damages.found == before + 1


async def test_a_part_that_is_missing_is_not_left_out(store: Store, org: int) -> None:
    kept = history(org, TEXTS[:3])
    last = kept.nodes[-1].key
    del kept.nodes[0]
    await commit(store, kept)
    assert await store.history(org, last, 2) == TEXTS[1:3], "no deeper than was asked"
    async with refused():
        await store.history(org, last, 3)


WHOLE = [text for text in TEXTS if b"ud800" not in text]
"""What comes in as JSON: half of a pair of surrogates does not."""


def with_blocks(org: int, texts: list[bytes], *ends: int) -> list[HistoryNode]:
    """The nodes of a history that is kept in blocks, each up to one of these ends."""
    nodes, parent, first = [], b"", 0
    for end in ends:
        block = b"[" + b",".join(texts[first:end]) + b"]"
        key = prefix_names(block_names(block), parent)[-1]
        nodes.append(HistoryNode(org, key, parent, b"", end, block))
        parent, first = key, end
    return nodes


async def test_messages_of_blocks_are_read_back_among_those_that_are_kept_singly(store: Store, org: int) -> None:
    blocks = with_blocks(org, WHOLE[:3], 2, 3)
    name = message_name(WHOLE[3])
    [key] = prefix_names([name], blocks[-1].key)
    single = HistoryNode(org, key, blocks[-1].key, name, 4)
    [last] = with_blocks(org, WHOLE[4:], len(WHOLE) - 4)
    end = prefix_names(block_names(last.block), key)[-1]
    last = msgspec.structs.replace(last, key=end, parent=key, length=len(WHOLE))
    await commit(store, Changes(messages=[Message(org, name, WHOLE[3])], nodes=[*blocks, single, last]))
    assert await store.history(org, end, len(WHOLE)) == WHOLE
    assert await store.history(org, end, len(WHOLE) - 1) == WHOLE[1:], "no deeper than was asked"
    assert await store.history(org, blocks[0].key, 2) == WHOLE[:2]
    names = prefix_names(map(message_name, WHOLE))
    assert await store.known_nodes(org, names) == len(WHOLE)
    assert await store.known_nodes(org, names[:-1]) == 4
    assert await store.known_nodes(org, names[:1]) == await store.known_nodes(org, []) == 0
    assert [await store.known_length(org, one) for one in (end, key, names[0])] == [len(WHOLE), 4, None]


@table("number, changed", enumerate(["length", "block", "the first is missing"]))
async def test_a_block_that_is_not_what_it_was_is_never_given_out(store: Store, number: int, changed: str) -> None:
    org = (await store.org_create(*identity(number, name=changed))).org
    first, second = with_blocks(org, WHOLE[:3], 2, 3)
    if changed == "length":
        second = msgspec.structs.replace(second, length=4)
    elif changed == "block":
        first = msgspec.structs.replace(first, block=b"[1,2]")
    nodes = [second] if changed == "the first is missing" else [first, second]
    await commit(store, Changes(nodes=nodes))
    async with refused():
        await store.history(org, second.key, 3)


async def test_the_longest_meta_list_that_is_stored_is_found(store: Store, org: int) -> None:
    metas = [b"meta:%d" % number for number in range(1200)]
    names = prefix_names(metas)
    body = b"[" + b",".join(meta[5:] for meta in metas[:600]) + b"]"
    await commit(store, Changes(metas=[MetaList(org, names[599], b"", body)]))
    assert await store.known_metas(org, names) == 600
    assert await store.known_metas(org, names[:599]) == 0


async def test_every_prefix_is_a_history(store: Store, org: int) -> None:
    kept = history(org, TEXTS)
    await commit(store, kept)
    for length, node in enumerate(kept.nodes, start=1):
        texts = await store.history(org, node.key, length)
        assert texts == TEXTS[:length]


async def test_what_is_there_already_is_kept_once_and_stays_as_it_was(store: Store, org: int) -> None:
    kept = history(org, TEXTS)
    await commit(store, kept)
    await commit(store, kept)
    await commit(store, history(org, [*TEXTS, b'{"more":1}']))
    assert await store.history(org, kept.nodes[-1].key, len(TEXTS)) == TEXTS


async def test_histories_part_where_they_differ(store: Store, org: int) -> None:
    one, two = [*TEXTS[:3], b'{"way":1}'], [*TEXTS[:3], b'{"way":2}']
    for texts in (one, two):
        await commit(store, history(org, texts))
    for texts in (one, two):
        node = history(org, texts).nodes[-1].key
        assert await store.history(org, node, 4) == texts


async def test_the_nodes_that_are_known_are_counted(store: Store, org: int, other: int) -> None:
    kept = history(org, TEXTS[:3])
    await commit(store, kept)
    keys = [node.key for node in kept.nodes]
    async with store.begin() as unit:
        ours, theirs, none = (org, (*keys, b"unknown")), (other, tuple(keys)), (org, ())
        assert await looked_up(unit, Kind.NODES, ours, theirs, none) == {ours: 3, theirs: 0, none: 0}


async def test_organisations_share_no_content(store: Store, org: int, other: int) -> None:
    kept = history(org, TEXTS[:3])
    await commit(store, kept)
    async with refused():
        await store.history(other, kept.nodes[-1].key, 3)
    await commit(store, history(other, TEXTS[:3]))
    assert await store.history(other, kept.nodes[-1].key, 3) == TEXTS[:3]


async def test_replies_are_kept_until_they_are_dropped(store: Store, org: int, other: int) -> None:
    old = StoredReply(org, "POST /a\nk", b"digest", 201, b'{"a":1}', START_MS)
    new = StoredReply(org, "POST /b\nk", b"digest", 200, b"", START_MS + 1)
    await commit(store, Changes(replies=[old, new]))
    async with store.begin() as unit:
        keys = [(org, old.name), (other, old.name), (org, "POST /a\nother")]
        assert await looked_up(unit, Kind.REPLY, *keys) == {keys[0]: old}
    assert [await store.replies_drop(START_MS + 1, 1) for _ in range(2)] == [1, 0]
    async with store.begin() as unit:
        assert await looked_up(unit, Kind.REPLY, (org, old.name), (org, new.name)) == {(org, new.name): new}
