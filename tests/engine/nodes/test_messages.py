"""Messages fit the bus, say the same in pieces, and are never longer for what a commit has changed."""

from __future__ import annotations

import pytest

from tests.support.factories import event, run_row
from towerlog.engine.nodes.messages import Counted, NodeMessage, decoded, encoded
from towerlog.engine.nodes.news import MAX_NAMED, MovedRun, News, news_of, parts_of
from towerlog.model.agent import AgentRow
from towerlog.model.lane import Lane, QueueState
from towerlog.model.principal import shard_key
from towerlog.model.run import Status
from towerlog.store.values import RunChange
from towerlog.wake.base import Commit


def all_of(pieces: list[NodeMessage]) -> News:
    """What pieces say together, of one organisation."""
    [first, *rest] = [news for piece in pieces for news in piece.news]
    for news in rest:
        first.add(news)
    return first


@pytest.mark.parametrize("count", [0, 1, 70, 300])
def test_pieces_say_what_the_whole_says(count: int) -> None:
    moved = {run: MovedRun(run, None, ((1, Status.RUNNING),)) for run in range(1, count + 1)}
    news = News(3, 10, 10 + count, moved=moved, budgets={f"b{one}" for one in range(count)}, has_messages=True)
    pieces = [decoded(text) for text in encoded(NodeMessage("n", [news]), 7900)]
    assert all(
        piece is not None and len(text) <= 7900
        for piece, text in zip(pieces, encoded(NodeMessage("n", [news]), 7900), strict=True)
    )
    found = all_of([piece for piece in pieces if piece is not None])
    assert (found.after, found.until, found.has_messages) == (news.after, news.until, True)
    assert (found.moved, found.budgets, found.is_short) == (moved, news.budgets, False)


def test_names_that_fit_no_message_are_left_out_and_that_is_said() -> None:
    news = News(1, 0, 0, alerts={f"{one}{'x' * 500}" for one in range(40)})
    pieces = [decoded(text) for text in encoded(NodeMessage("n", [news]), 2000)]
    assert all_of([piece for piece in pieces if piece is not None]).is_short


def test_many_lists_are_cut_apart() -> None:
    counted = [Counted("steps", f"key-{number}", number) for number in range(500)]
    message = NodeMessage("n", [News(org, 0, 1) for org in range(300)], counted)
    texts = list(encoded(message, 3000))
    assert max(map(len, texts)) <= 3000
    found = [one for one in map(decoded, texts) if one is not None]
    assert [one for piece in found for one in piece.counted] == counted
    assert [news.org for piece in found for news in piece.news] == list(range(300))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'["n",[[1]]]', b"\xff", b'["n",[],[],[],[],["later"]]'])
def test_what_is_no_message_is_passed_over(text: bytes) -> None:
    found = decoded(text)
    assert found is None or found.is_empty()


def test_news_are_bounded_however_many_come_together() -> None:
    news = News(1, 0, 1)
    for number in range(MAX_NAMED + 5):
        news.add(News(1, number + 1, number + 2, agents={number}, erased={number}))
    assert news.is_short
    assert len(news.agents) <= MAX_NAMED
    assert len(news.erased) == MAX_NAMED + 5
    assert (news.after, news.until) == (0, MAX_NAMED + 6)


def test_a_commit_of_two_organisations_is_told_of_each() -> None:
    rows = [run_row(1, org=org, last_seq=1) for org in (1, 2)]
    lane = Lane(shard_key(2, 1), 2, QueueState.QUEUED, "a", 0)
    agent = AgentRow(shard_key(1, 1), 1, "id", "a", 0)
    commit = Commit(
        [event(5, 1, org=1), event(9, 1, org=2)],
        {row.run: RunChange(None, row, ((1, Status.RUNNING),)) for row in rows},
        {lane.run: lane},
        {agent.agent: agent},
        {(1, "b"): None},
        {(shard_key(2, 1), 4): None},
    )
    parts = parts_of(commit)
    assert {org: [one.position for one in part.events] for org, part in parts.items()} == {1: [5], 2: [9]}
    first, second = news_of(1, parts[1]), news_of(2, parts[2])
    assert (first.after, first.until, first.agents, first.budgets) == (4, 5, {agent.agent}, {"b"})
    assert (second.after, second.until, second.lanes, second.approvals) == (8, 9, set(), {(shard_key(2, 1), 4)})
    assert first.moved[rows[0].run].was is None
