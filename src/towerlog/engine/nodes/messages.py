"""Messages between nodes: what one says to all others at a time, as bytes, in pieces that the bus can carry."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from towerlog.engine.nodes.news import News, changes_of
from towerlog.model.agent import AgentRow
from towerlog.model.event import Event
from towerlog.model.lane import Lane
from towerlog.model.run import RunRow
from towerlog.wake.base import Commit

NAMED_AT_ONCE = 60
"""What a piece of news names, where it does not fit a message: each takes about a hundred bytes at most."""
MAX_PIECES = 16
"""Of one piece of news; with more, others are told that they do not know all."""


class Counted(msgspec.Struct, array_like=True, frozen=True):
    """Requests that were let through."""

    limit: str
    """Which limit they count against."""
    who: str
    count: int


class Asked(msgspec.Struct, array_like=True, frozen=True):
    """A worker has asked for work."""

    org: int
    agents: tuple[str, ...] | None
    labels: tuple[tuple[str, str], ...]
    worker_id: str = ""
    key_id: str = ""


class Granted(msgspec.Struct, array_like=True, frozen=True):
    """A socket of live push may subscribe to a channel, for this key."""

    socket_id: str
    channel: str
    digest: str
    """Of the key, in hex."""
    subject: tuple[str, int | str]


class Whole(msgspec.Struct, array_like=True, frozen=True):
    """A whole commit of one organisation; receivers need not query the store."""

    news: News
    events: list[Event]
    runs: list[RunRow]
    lanes: list[Lane]
    agents: list[AgentRow]

    def commit(self) -> Commit:
        """The commit, as far as anybody waits for it."""
        org, news = self.news.org, self.news
        return Commit(
            self.events,
            changes_of({row.run: row for row in self.runs}, news.moved),
            {lane.run: lane for lane in self.lanes},
            {row.agent: row for row in self.agents},
            {(org, budget_id): None for budget_id in news.budgets},
            dict.fromkeys(news.approvals),
            {(org, alert_id): None for alert_id in news.alerts},
        )


def whole_of(news: News, part: Commit) -> Whole:
    """A commit with its news."""
    rows = [change.after for change in part.runs.values()]
    return Whole(news, list(part.events), rows, list(part.lanes.values()), list(part.agents.values()))


class NodeMessage(msgspec.Struct, array_like=True, frozen=True):
    """What a node says."""

    node: str
    """Who says it."""
    news: list[News] = []
    counted: list[Counted] = []
    asked: list[Asked] = []
    granted: list[Granted] = []
    wholes: list[Whole] = []
    """Before the news about the same organisations."""
    number: int = 0
    """How many its node has said up to this one, so that one that was lost shows by the next; one that says nothing
    counts for none. 0: it has no number (`numbered` adds it)."""

    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not (self.news or self.counted or self.asked or self.granted or self.wholes)


_encode = msgspec.json.Encoder().encode
_NO_NUMBER = b",0]"
NUMBER_BYTES = 20
"""So much longer a message may be with its number."""
_DECODER = msgspec.json.Decoder(NodeMessage)


def decoded(text: bytes) -> NodeMessage | None:
    """A message; None for what is none, as that of another version."""
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, ValueError):
        return None


def numbered(text: bytes, number: int) -> bytes:
    """An encoded message with its number, which stands last in it."""
    return text.removesuffix(_NO_NUMBER) + b",%d]" % number


def encoded(message: NodeMessage, max_bytes: int) -> Iterator[bytes]:
    """A message in as few pieces as it fits, in order."""
    text = _encode(message)
    if len(text) <= max_bytes:
        yield text
        return
    for part in _parts(message):
        text = _encode(part)
        if len(text) <= max_bytes:
            yield text
        elif len(part.news) == 1:
            yield from (_encode(NodeMessage(part.node, [piece])) for piece in _pieces(part.news[0], max_bytes))
        elif len(part.wholes) == 1:
            yield from encoded(NodeMessage(part.node, [part.wholes[0].news]), max_bytes)
        else:
            yield from encoded(part, max_bytes)


def _parts(message: NodeMessage) -> Iterator[NodeMessage]:
    """Two halves of a list, or its lists."""
    node = message.node
    lists = [name for name in ("wholes", "news", "counted", "asked", "granted") if getattr(message, name)]
    for name in lists:
        told = getattr(message, name)
        half = len(told) if len(lists) > 1 else max(1, len(told) // 2)
        for some in (told[:half], told[half:]):
            if some:
                yield NodeMessage(node, **{name: some})


def _pieces(news: News, max_bytes: int) -> Iterator[News]:
    """What it names, before its positions."""
    named: list[tuple[str, object]] = [("moved", one) for one in news.moved.items()]
    for name in ("runs", "lanes", "agents", "budgets", "approvals", "alerts", "erased"):
        named += [(name, one) for one in getattr(news, name)]
    last = News(news.org, news.after, news.until, has_messages=news.has_messages, is_short=news.is_short)
    if len(named) > NAMED_AT_ONCE * MAX_PIECES:
        last.is_short, named = True, [one for one in named if one[0] == "erased"]
    for first in range(0, len(named), NAMED_AT_ONCE):
        piece = News(news.org, 0, 0)
        for name, one in named[first : first + NAMED_AT_ONCE]:
            known = getattr(piece, name)
            known.update((one,))
        if len(_encode(piece)) > max_bytes - 200:  # long names: they are looked up instead
            piece.shorten()
        yield piece
    yield last
