"""Rows of what is state and no projection: what budgets, prices, rules, alerts, deliveries and policies are kept as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from towerlog.model.alert import AlertRow, AlertRule
from towerlog.model.approval import ApprovalRow
from towerlog.model.budget import BudgetRow, Reservation
from towerlog.model.delivery import NO_BODY, Delivery, DeliveryBody
from towerlog.model.price import PriceRow
from towerlog.model.retention import Erasing, RetentionPolicy
from towerlog.store.columns.rows import Row, decode_checkpoint

_encode = msgspec.json.Encoder().encode
decode_approval = msgspec.json.Decoder(ApprovalRow).decode
decode_budget = msgspec.json.Decoder(BudgetRow).decode
decode_reservation = msgspec.json.Decoder(Reservation).decode
decode_price = msgspec.json.Decoder(PriceRow).decode
decode_rule = msgspec.json.Decoder(AlertRule).decode
decode_alert = msgspec.json.Decoder(AlertRow).decode
decode_delivery = msgspec.json.Decoder(Delivery).decode
decode_body = msgspec.json.Decoder(DeliveryBody).decode
decode_policy = msgspec.json.Decoder(RetentionPolicy).decode
decode_erasing = msgspec.json.Decoder(Erasing).decode
_TELLS = "(SELECT body FROM delivery_body AS told WHERE told.org = delivery.org AND told.body_id = delivery.body_id)"
DELIVERY_COLUMNS = f"number, {_TELLS}, doc"
"""What `delivery_value` reads."""


def moved_checkpoints(docs: Iterable[bytes], thread_id: str) -> Iterator[Row]:
    """(thread_id, doc, run, agent, step_index) of checkpoints of a run that stands in this thread now."""
    for doc in docs:
        row = decode_checkpoint(doc).in_thread(thread_id)
        yield thread_id, _encode(row), row.run, row.agent, row.step_index


def approval_row(row: ApprovalRow) -> Row:
    """(run, seq, org, position, step_index, due_at, doc)."""
    return (row.run, row.seq, row.org, row.position, row.step_index, row.due_at(), _encode(row))


def budget_row(row: BudgetRow) -> Row:
    """(org, budget_id, number, due_at, doc)."""
    return (row.org, row.budget_id, row.number, row.due_at(), _encode(row))


def reservation_row(held: Reservation) -> Row:
    """(org, reservation_id, key_id, run, expires_at, doc)."""
    return (held.org, held.reservation_id, held.key_id, held.run, held.expires_at, _encode(held))


def price_row(row: PriceRow) -> Row:
    """(org, price_id, number, doc)."""
    return (row.org, row.price_id, row.number, _encode(row))


def rule_row(rule: AlertRule) -> Row:
    """(org, rule_id, number, timed, doc)."""
    return (rule.org, rule.rule_id, rule.number, int(rule.goes_by_time()), _encode(rule))


def alert_row(alert: AlertRow) -> Row:
    """(org, alert_id, rule_id, subject, episode, state, fired_at, position, doc)."""
    doc = _encode(msgspec.structs.replace(alert, number=0))
    key = (alert.org, alert.alert_id, alert.rule_id, alert.subject, alert.episode)
    return (*key, alert.state.value, alert.fired_at, alert.position, doc)


def alert_value(row: Row) -> AlertRow:
    """An alert from (number, doc)."""
    return msgspec.structs.replace(decode_alert(row[1]), number=row[0])


def delivery_row(row: Delivery) -> Row:
    """(org, delivery_id, rule_id, alert_id, state, receiver, due_at, created_at, body_id, doc)."""
    doc = _encode(msgspec.structs.replace(row, number=0, body=NO_BODY))
    key = (row.org, row.delivery_id, row.rule_id, row.alert_id)
    return (*key, row.state.value, row.channel.receiver(), row.due_at, row.created_at, row.body_id, doc)


def delivery_value(row: Row) -> Delivery:
    """A delivery from (number, what it tells, doc) and whatever follows."""
    number, body, doc = row[:3]
    return msgspec.structs.replace(
        decode_delivery(doc), number=number, body=NO_BODY if body is None else msgspec.Raw(body)
    )


def body_row(row: DeliveryBody) -> Row:
    """(org, body_id, alert_id, unwritten, body, doc)."""
    doc = _encode(msgspec.structs.replace(row, body=NO_BODY))
    return (row.org, row.body_id, row.alert_id, len(row.unwritten), bytes(row.body), doc)


def body_value(row: Row) -> DeliveryBody:
    """What deliveries tell, from (body, doc)."""
    return msgspec.structs.replace(decode_body(row[1]), body=msgspec.Raw(row[0]))


def policy_row(row: RetentionPolicy) -> Row:
    """(org, kind, doc)."""
    return (row.org, row.kind, _encode(row))


def erasing_row(row: Erasing) -> Row:
    """(run, org, doc)."""
    return (row.run, row.org, _encode(row))
