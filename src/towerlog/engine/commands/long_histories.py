"""Long histories: stored a part at a time, in commits of their own, before the event that they came with.

A history may have ten thousands of messages. In one commit with their event, everybody else would wait for all of them;
and a row for each, under a key that is a hash, would touch nearly as many pages. So they are kept as blocks: so many
messages in one row. Content is named by its hash, so it may lie there before a checkpoint names it; where the event is
not taken after all, nothing shows it. What is stored already is found out beside the writer, and an erasure may take it
before the writer comes to it. So each commit that builds on stored content looks whether that is there: a part looks at
what it goes on from, the event at the ends of its history. Where it is not, the history is stored again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

import msgspec

from towerlog.engine.commit.turn import ContentGone
from towerlog.engine.control.holders import may_repeat
from towerlog.engine.ingest.content import is_stored, needs_of_stored
from towerlog.engine.load.cache import metas_mark, org_mark
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.model.command import Append, ContentPart, KeepContent, Report
from towerlog.model.event import Draft, History, StoredHistory
from towerlog.model.names import META, Names, message_name, prefix_names
from towerlog.model.outcome import ContentKept
from towerlog.model.principal import Principal
from towerlog.model.texts import Texts, bytes_of
from towerlog.store.base import Store
from towerlog.store.content import HistoryNode, MetaList

MAX_MESSAGES_BESIDE = 512
"""Messages and metas that are stored with the events of a request; where it has more, they are stored before."""
MAX_BYTES_AT_ONCE = 512 * 1024
"""The same in bytes; and bytes of a block, as far as one message does not have more by itself."""
MAX_PARTS_AT_ONCE = 256
"""Blocks that one commit takes, with no more bytes than one block may have, as far as the last does not go beyond."""
LOOKED_UP_AT_ONCE = 512
"""Prefixes that one question to the store asks for: others have questions, too."""
MAX_LOOKED_UP = 4096
"""Of the prefixes of a history, the longest, which are looked up each by itself."""
NAMED_AT_ONCE = 4096
NAMED_ON_LOOP = 128
NAMED_ON_LOOP_BYTES = 64 * 1024
"""Messages that are named on the event loop; of more, in a thread."""
MAX_TRIES = 8
"""How often a history is stored anew because of what was erased meanwhile. Each time costs an erasure a step of its
own, between two commits; where that goes on, the sender is asked to come again."""
_replace = msgspec.structs.replace
Submit = Callable[[Principal, KeepContent], Awaitable[object]]


def is_long(command: Append | Report) -> bool:
    """Whether the histories of a command are together more than its commit should have."""
    count = size = 0
    for item in command.items:
        if type(item) is Draft and item.history is not None:
            meta = item.history.meta or ()
            count += len(item.history.messages) + len(meta)
            size += bytes_of(item.history.messages) + bytes_of(meta)
    return count > MAX_MESSAGES_BESIDE or size > MAX_BYTES_AT_ONCE


class LongHistories:
    """Stores what is long of commands before them."""

    def __init__(self, store: Store, submit: Submit) -> None:
        """`submit` has the writer commit a command."""
        self._store = store
        self._submit = submit

    async def stored_first(self, principal: Principal, command: Append | Report) -> Append | Report:
        """The command, with its histories stored where they are long. Raises what the writer refuses a part with."""
        return await self.stored_again(principal, command) if is_long(command) else command

    async def stored_again(self, principal: Principal, command: Append | Report) -> Append | Report:
        """The same of what was found to be long before, and of which something may not be there any more."""
        for _ in range(MAX_TRIES):
            with suppress(ContentGone):
                return await self._stored(principal, command)
        raise ContentGone(retry_after=1)

    async def _stored(self, principal: Principal, command: Append | Report) -> Append | Report:
        # Of a worker without the lease nothing is stored but what its quarantine has room for.
        is_taken = isinstance(command, Append) or await self._is_holder(principal, command)
        one = _Storing(self._store, self._submit, principal)
        items = []
        for item in command.items:
            if isinstance(item, Draft) and item.history is not None:
                stored = await one.store(item.history) if is_taken else None
                item = _replace(item, history=_replace(item.history, stored=stored, is_long=True))
            items.append(item)
        await one.commit()
        return _replace(command, items=items)

    async def _is_holder(self, principal: Principal, command: Report) -> bool:
        row = await self._store.run(principal.org, command.run_id)
        lane = None if row is None or not row.has_lane else await self._store.lane(row.org, row.run)
        return may_repeat(principal, command.worker_id, command.lease_epoch, lane)


class _Storing:
    """The histories of one command, in their order: one may go on from another."""

    def __init__(self, store: Store, submit: Submit, principal: Principal) -> None:
        self._store, self._submit, self._principal = store, submit, principal
        self._parts: list[ContentPart] = []
        self._size = 0
        self._nodes: dict[bytes, int] = {}
        self._metas: dict[bytes, int] = {}
        """The nodes and the meta lists that this command has added, with their lengths."""

    async def store(self, history: History) -> StoredHistory | None:
        """Where it lies once all is committed; None where what it goes on from is not stored."""
        org, base = self._principal.org, history.base
        parent, length = (b"", 0) if base is None else (base.node, base.length)
        if base is not None and length != (self._nodes.get(parent) or await self._store.known_length(org, parent)):
            return None
        messages, metas = Texts.of(history.messages), Texts.of(history.meta or ())
        nodes = await _named(messages, parent, message_name)
        known = _longest_of(nodes, length, self._nodes) or await self._known(messages, nodes, self._store.known_nodes)
        await self._add(messages, nodes, known, (parent, length), self._nodes)
        lists = await _named(metas, b"", _meta_name)
        known = _longest_of(lists, 0, self._metas) or await self._known(metas, lists, self._store.known_metas)
        await self._add(metas, lists, known, (b"", 0), self._metas)
        return StoredHistory(nodes[-1] if messages else parent, length + len(messages), lists[-1] if metas else b"")

    async def _known(self, texts: Texts, names: Names, ask: Callable[[int, Sequence[bytes]], Awaitable[int]]) -> int:
        """How long a prefix is that is stored: the longest of those that a few turns have not added, or else of those
        that end with a block. Others are not looked for: that would take longer than to store them again."""
        org, count = self._principal.org, len(names)
        for end in range(count, max(0, count - MAX_LOOKED_UP), -LOOKED_UP_AT_ONCE):
            begin = max(0, end - LOOKED_UP_AT_ONCE)
            found = await ask(org, names[begin:end])
            if found:
                return begin + found
        if count <= MAX_LOOKED_UP:
            return 0
        ends = list(_ends_of_blocks(texts, 0))
        found = await ask(org, [names[end - 1] for end in ends])
        return ends[found - 1] if found else 0

    async def _add(
        self, texts: Texts, names: Names, known: int, before: tuple[bytes, int], added: dict[bytes, int]
    ) -> None:
        """What comes after the prefix that is known, in blocks; `before`: what the first of the texts goes on from."""
        parent, length = before
        for end in _ends_of_blocks(texts, known):
            body, key = texts.array(known, end), names[end - 1]
            above = names[known - 1] if known else parent
            self._parts.append(ContentPart(key, above, length + end, body, added is self._metas))
            self._size += len(body)
            added[key] = length + end
            known = end
            if self._size > MAX_BYTES_AT_ONCE or len(self._parts) >= MAX_PARTS_AT_ONCE:
                await self.commit()

    async def commit(self) -> None:
        """What has gathered."""
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            await self._submit(self._principal, KeepContent(parts))


def _ends_of_blocks(texts: Texts, first: int) -> Iterator[int]:
    """Where the blocks end that begin with one of the texts."""
    while first < len(texts):
        first = texts.end_of(first, MAX_BYTES_AT_ONCE)
        yield first


def _longest_of(names: Names, before: int, added: dict[bytes, int]) -> int:
    """How long the longest prefix is that was added; 0 for none. `before`: how long the list is that they go on from.

    A name stands for one list and so for one length, which says where among the names it could be.
    """
    lengths = ((length - before, key) for key, length in added.items())
    return max((own for own, key in lengths if 0 < own <= len(names) and names[own - 1] == key), default=0)


async def _named(texts: Texts, parent: bytes, name: Callable[[bytes], bytes]) -> Names:
    """The names of the lists that end with each of the texts."""
    if len(texts) <= NAMED_ON_LOOP and texts.size <= NAMED_ON_LOOP_BYTES:
        return _names_of(texts, parent, name)
    return await asyncio.to_thread(_names_of, texts, parent, name)


def _names_of(texts: Sequence[bytes], parent: bytes, name: Callable[[bytes], bytes]) -> Names:
    names = bytearray()
    for first in range(0, len(texts), NAMED_AT_ONCE):
        prefixes = prefix_names(map(name, texts[first : first + NAMED_AT_ONCE]), parent)
        names += b"".join(prefixes)
        parent = prefixes[-1]
    return Names(names)


def _meta_name(meta: bytes) -> bytes:
    return META + meta


def needs_of_parts(needs: Needs, principal: Principal, command: KeepContent) -> None:
    """Whether that is there which they go on from. What they are themselves is written whether or not it is there."""
    for part in _first_parts(command):
        needs_of_stored(needs, principal.org, part.parent, of_metas=part.is_meta)


def _first_parts(command: KeepContent) -> list[ContentPart]:
    """Those that go on from none of the parts before them."""
    own = {(part.is_meta, part.key) for part in command.parts}
    return [part for part in command.parts if (part.is_meta, part.parent) not in own]


def keep_parts(plan: Plan, principal: Principal, command: KeepContent) -> ContentKept:
    """Adds them. Raises ContentGone, before anything is added, where what one of them goes on from is there no more."""
    org = principal.org
    if not all(is_stored(plan, org, part.parent, of_metas=part.is_meta) for part in _first_parts(command)):
        raise ContentGone(retry_after=1)
    for part in command.parts:
        if part.is_meta:
            metas = MetaList(org, part.key, part.parent, part.body)
            plan.keep_metas(metas, metas_mark(org) + part.key, part.length)
        else:
            node = HistoryNode(org, part.key, part.parent, b"", part.length, part.body)
            plan.keep_nodes([node], [], [(org_mark(org) + part.key, part.length)])
    return ContentKept()
