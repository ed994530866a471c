"""Rules, alerts and deliveries in SQLite: found by an index, one alert an episode, and damage is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw
import msgspec
import pytest

from tests.store.plans import plans_of
from towerlog.model.alert import AlertRow, AlertRule, AlertState, AlertTrigger, WindowCount
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.delivery import DeliveriesAfter, Delivery, DeliveryBody, DeliveryState, DueWanted, NoticeKind
from towerlog.store.sqlite.alerts import alerts
from towerlog.store.sqlite.events import tool_calls
from towerlog.store.sqlite.upkeep.verification import all_rows
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes


def rule(org: int, number: int, **given: Any) -> AlertRule:
    return AlertRule(org, f"r{number}", number, "ours", AlertTrigger.ERROR, 5, **given)


def alert(org: int, name: str, episode: int = 1, **given: Any) -> AlertRow:
    made = AlertRow(org, name, "r1", "run:x", episode, "ours", AlertTrigger.ERROR, AlertState.ALERT, 5, "it failed")
    return msgspec.structs.replace(made, **given)


def delivery(org: int, name: str, **given: Any) -> Delivery:
    channel = AlertChannel(ChannelType.WEBHOOK, "https://hooks.example.com/a")
    made = Delivery(org, name, "a1", "r1", NoticeKind.FIRED, channel, 5, "b1", due_at=7)
    return msgspec.structs.replace(made, **given)


def delivery_body(org: int, name: str, unwritten: tuple[AlertChannel, ...] = ()) -> DeliveryBody:
    told = msgspec.Raw(b'{"message":"no"}')
    return DeliveryBody(org, name, "a1", "r1", NoticeKind.FIRED, 5, told, unwritten)


BY_INDEX: dict[str, tuple[Callable[[apsw.Connection], object], str]] = {
    "rules": (lambda db: alerts.rules_of(db, 1), "alert_rule_by_number (org=?)"),
    "page of rules": (lambda db: alerts.rules(db, 1, 5, 9), "alert_rule_by_number (org=? AND number<?)"),
    "one rule": (lambda db: alerts.rule(db, 1, "r"), "PRIMARY KEY (org=? AND rule_id=?)"),
    "newest": (lambda db: alerts.newest_alert(db, 1, "r", "s"), "alert_by_subject (org=? AND rule_id=? AND subject=?)"),
    "one alert": (lambda db: alerts.alert(db, 1, "a"), "PRIMARY KEY (org=? AND alert_id=?)"),
    "page of alerts": (lambda db: alerts.alerts(db, 1, 5, 9, None, None), "alert_by_number (org=? AND number<?)"),
    "changed since": (lambda db: alerts.alerts_since(db, 1, 5, 9), "alert_by_position (org=? AND position>?)"),
    "open": (lambda db: alerts.alerts_open(db, 1), "COVERING INDEX alert_open (org=?)"),
    "one delivery": (lambda db: alerts.delivery(db, 1, "d"), "PRIMARY KEY (org=? AND delivery_id=?)"),
    "page of deliveries": (
        lambda db: alerts.deliveries(db, 1, 5, 9, None, None, None),
        "delivery_by_number (org=? AND number<?)",
    ),
    "of an alert": (
        lambda db: alerts.deliveries(db, 1, 5, 9, None, "a", None),
        "delivery_by_alert (org=? AND alert_id=? AND number<?)",
    ),
    "counts": (lambda db: alerts.outbox_counts(db, 1), "(org=?)"),
    "unwritten": (lambda db: alerts.bodies_unwritten(db, 1, 5), "delivery_body_unwritten (org=?)"),
    "bodies that wait": (lambda db: alerts.bodies_waiting(db, 1, 5), "COVERING INDEX delivery_body_unwritten (org>?)"),
    "from a cursor": (
        lambda db: alerts.deliveries_after(db, DeliveriesAfter(1, 3, "", "", 5)),
        "delivery_by_number (org=? AND number>?)",
    ),
    "window": (lambda db: alerts.windows_of(db, 1, "r", 7), "PRIMARY KEY (org=? AND rule_id=? AND minute>?)"),
    "tool calls": (lambda db: tool_calls(db, 1, 5), "event_by_seq (run=? AND seq>?)"),
}


@pytest.mark.parametrize("name", BY_INDEX)
def test_a_question_goes_by_an_index_and_sorts_nothing(db: apsw.Connection, org: int, name: str) -> None:
    question, index = BY_INDEX[name]
    for sql, steps in plans_of(db, lambda: question(db)).items():
        assert index in steps[0], (sql, steps)
        assert not any("TEMP B-TREE" in step for step in steps), (sql, steps)


def test_what_is_due_goes_from_one_receiver_to_the_next(db: apsw.Connection, org: int) -> None:
    write_changes(db, Changes(deliveries={(org, "d"): delivery(org, "d")}))
    wanted = DueWanted(org, "", 9, 99, 2, 9, 9, {})
    plans = plans_of(db, lambda: (alerts.deliveries_due(db, wanted), alerts.deliveries_waiting(db, -1, 9)))
    for sql, steps in plans.items():
        assert "delivery_due" in steps[0], (sql, steps)
        assert not any("SCAN" in step and "COVERING" not in step for step in steps), (sql, steps)


def test_each_receiver_has_its_own_first_ones(db: apsw.Connection, org: int) -> None:
    slow = AlertChannel(ChannelType.WEBHOOK, "https://slow.example.com/")
    rows = [delivery(org, f"s{number}", channel=slow, due_at=number) for number in range(9)]
    rows += [delivery(org, "later", due_at=50), delivery(org, "now", due_at=10), delivery(org, "set back", due_at=500)]
    rows += [delivery(org, "done", due_at=None, state=DeliveryState.DELIVERED)]
    write_changes(db, Changes(deliveries={(org, one.delivery_id): one for one in rows}))
    wanted = DueWanted(org, "", 10, 100, 2, 9, 9, {})
    due = alerts.deliveries_due(db, wanted)
    assert ([one.delivery_id for one in due.rows], due.place, due.is_more) == (
        ["now", "set back", "s0", "s1"], None, True,
    )  # fmt: skip
    for one_at_once in (wanted._replace(found=1), wanted._replace(looked=1)):
        first = alerts.deliveries_due(db, one_at_once)
        assert [one.delivery_id for one in first.rows] == ["now", "set back"]
        rest = alerts.deliveries_due(db, one_at_once._replace(after=first.place or "", found=9, looked=9))
        assert ([one.delivery_id for one in rest.rows], rest.place) == (["s0", "s1"], None)


def test_a_second_alert_of_an_episode_is_not_written(db: apsw.Connection, org: int) -> None:
    write_changes(db, Changes(alerts={(org, "a"): alert(org, "a")}))
    with pytest.raises(apsw.ConstraintError):
        write_changes(db, Changes(alerts={(org, "b"): alert(org, "b")}))
    write_changes(db, Changes(alerts={(org, "b"): alert(org, "b", episode=2)}))
    newest = alerts.newest_alert(db, org, "r1", "run:x")
    assert newest is not None
    assert (newest.alert_id, newest.number) == ("b", 2)


def test_windows_are_added_up_and_go_with_their_rule(db: apsw.Connection, org: int) -> None:
    for _ in range(2):
        counted = {(org, "r1", 5): WindowCount(1, 1, 7), (org, "r1", 6): WindowCount(2, 0, 1)}
        write_changes(db, Changes(alert_windows=counted))
    assert alerts.windows_of(db, org, "r1", 5) == WindowCount(6, 2, 16)
    assert alerts.windows_of(db, org, "r1", 6) == WindowCount(4, 0, 2)
    gone = Changes(alert_rules={(org, "r1"): None}, alert_windows={(org, "r1", 6): WindowCount(1)})
    write_changes(db, gone)
    assert alerts.windows_of(db, org, "r1", 0) == WindowCount()


def test_old_ones_go_and_what_waits_stays(db: apsw.Connection, org: int) -> None:
    found = {(org, f"a{number}"): alert(org, f"a{number}", episode=number, fired_at=number) for number in range(1, 7)}
    waiting = {(org, "d1"): delivery(org, "d1", created_at=1)}
    done = {(org, f"d{number}"): delivery(org, f"d{number}", created_at=number, due_at=None) for number in range(2, 7)}
    write_changes(db, Changes(alerts=found, deliveries=waiting | done))
    assert alerts.drop_old(db, 3, 10, 100, 0) == 3
    assert [one.alert_id for one in alerts.alerts(db, org, 9, None, None, None)] == ["a6", "a5", "a4", "a3"]
    assert [one.delivery_id for one in alerts.deliveries(db, org, 9, None, None, None, None)] == [
        "d6", "d5", "d4", "d3", "d1",
    ]  # fmt: skip
    assert alerts.drop_old(db, 0, 2, 1, 0) == 2
    assert alerts.drop_old(db, 0, 2, 100, 0) == 2
    assert len(alerts.alerts(db, org, 9, None, None, None)) == 2
    assert alerts.drop_old(db, 0, 2, 100, 0) == 0


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *[("alert_rule", name) for name in ("number", "timed", "doc")],
        *[("alert", name) for name in ("subject", "state", "doc")],
        *[("delivery", name) for name in ("state", "receiver", "due_at", "doc")],
    ],
)
def test_an_audit_notices_a_changed_column_and_a_rotten_row(
    db: apsw.Connection, org: int, table: str, column: str
) -> None:
    write_changes(
        db,
        Changes(
            alert_rules={(org, "r1"): rule(org, 1)},
            alerts={(org, "a1"): alert(org, "a1")},
            deliveries={(org, "d1"): delivery(org, "d1")},
        ),
    )
    assert all_rows(db, org).faults == []
    db.execute(f"UPDATE {table} SET {column} = 99")
    [fault] = all_rows(db, org).faults
    assert fault.startswith(f"{table} ")
