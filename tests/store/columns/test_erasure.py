"""What an erasure leaves of rows in any database: nothing that tells of the run, and no message that goes out later."""

from __future__ import annotations

import msgspec
import pytest

from tests.contract.test_leases import lane
from tests.store.sqlite.alerts.test_alerts import alert, delivery, delivery_body
from tests.support.factories import event, facts_of
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.approval import AnswerLink, ApprovalRef
from towerlog.model.checkpoint import StoredState
from towerlog.model.delivery import DeliveryState
from towerlog.model.event import Event, EventType
from towerlog.model.facts import CheckpointFacts, Erases
from towerlog.model.retention import Erasing
from towerlog.store.columns import rows, state
from towerlog.store.columns.erasure import (
    ErasedEvents,
    Room,
    alert_left,
    delivery_left,
    is_about,
    lane_left,
    told_left,
    with_content,
)

LINK = AnswerLink(1, "org", ApprovalRef("run", 2), "user", "", "grace", 9, "nonce")
ERASING = Erasing(7, 1, Erases.EVENTS, 100, "run-id")


def test_a_message_that_was_not_sent_is_not_sent_any_more() -> None:
    left = delivery_left(delivery(1, "d", link=LINK))
    assert left is not None
    assert (left.state, left.due_at, left.link) == (DeliveryState.FAILED, None, None)


def test_one_that_was_sent_keeps_how_it_ended_and_loses_its_link() -> None:
    sent = delivery(1, "d", state=DeliveryState.DELIVERED, due_at=None, link=LINK)
    left = delivery_left(sent)
    assert left == msgspec.structs.replace(sent, link=None)
    assert left is not None
    assert delivery_left(left) is None


def test_nothing_is_said_of_the_run_by_alerts_messages_and_lanes() -> None:
    assert state.decode_alert(alert_left(alert(1, "a"))).message == ""
    waiting = delivery_body(1, "b", (AlertChannel(ChannelType.WEBHOOK, "https://hooks.example.com/b"),))
    assert state.decode_body(told_left(waiting)).unwritten == ()
    *_, doc = rows.lane_row(lane(1, 1, labels={"gpu": "yes"}, phase="reads", log_line="line"))
    left = rows.decode_lane(lane_left(doc))
    assert (left.labels, left.phase, left.log_line) == ({}, None, None)
    assert left.agent == "a"


@pytest.mark.parametrize(
    ("run", "ids", "body", "found"),
    [(7, b"", b"", True), (8, b"{run-id}", b"", True), (None, b"", b"{run-id}", True), (8, b"run", b"id", False)],
)
def test_a_reply_is_about_the_run_by_its_number_its_ids_or_its_body(
    run: int | None, ids: bytes, body: bytes, found: bool
) -> None:
    assert is_about(ERASING, run, ids, body) is found


def test_content_is_named_once_in_the_order_in_which_it_was_found() -> None:
    known = msgspec.structs.replace(ERASING, nodes=("a", "b"), metas=("m",))
    left = with_content(known, ["b", "c", "c"], [])
    assert (left.nodes, left.metas) == (("a", "b", "c"), ("m",))


def checkpoint(seq: int) -> Event:
    """One whose state and the state before it are in the content store."""
    facts = CheckpointFacts(0, "done", node="n1", metas="m1", held=StoredState("n2", 1, "m2"))
    return event(seq, seq, type=EventType.CHECKPOINT, facts=facts_of(checkpoint=facts))


def test_events_are_taken_as_far_as_there_is_room_and_name_their_content() -> None:
    room = Room(9, 1000)
    erased = ErasedEvents(ERASING, room)
    left = [erased.take(one, 100, b"before") for one in (event(1, 1), checkpoint(2))]
    assert [one.type for one in left if one is not None] == [EventType.ERASED, EventType.ERASED]
    done = erased.done()
    assert (done.after_seq, done.nodes, done.metas) == (2, ("n1", "n2"), ("m1", "m2"))
    assert done.counts["events"][0] == 2
    assert done.counts["events"][1] == done.freed.events == 1000 - room.bytes >= 200
    assert room.rows == 9 - 2 * 2


def test_deltas_alone_leave_every_other_event_and_are_counted_apart() -> None:
    erased = ErasedEvents(msgspec.structs.replace(ERASING, scope=Erases.DELTAS), Room(9, 1000))
    assert erased.take(checkpoint(1), 100, b"") is None
    left = erased.take(event(2, 2, type=EventType.MESSAGE_DELTA), 10, b"")
    assert left is not None
    assert left.type is EventType.ERASED
    assert erased.take(left, 10, b"") is None, "nothing is left to erase of it"
    done = erased.done()
    assert (done.after_seq, done.nodes, done.counts.keys()) == (2, (), {"deltas"})
