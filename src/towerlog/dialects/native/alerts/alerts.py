"""Native endpoints of alerts, and of the messages that tell of them."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from towerlog import errors
from towerlog.dialects import vocabulary as v
from towerlog.dialects.alerts.rules import sees_targets
from towerlog.dialects.base import Call, Endpoint, Reply, reply_json, scopes
from towerlog.dialects.fields import decode, invalid_field, path_uuid
from towerlog.dialects.native.lists import CursorQuery, Listing, limit_of, page_reply, read_number, write_cursor
from towerlog.errors import NotFound
from towerlog.model.alert import (
    MAX_MINUTES,
    MINUTE_MS,
    AcknowledgeAlert,
    AlertAct,
    AlertNow,
    AlertRow,
    AlertState,
    AlertTrigger,
    GetAlert,
    ListAlerts,
    MuteAlert,
)
from towerlog.model.alert_channel import ChannelType
from towerlog.model.delivery import (
    MAX_REDELIVERED,
    Attempt,
    Delivery,
    DeliveryNow,
    DeliveryState,
    GetDelivery,
    ListDeliveries,
    NoticeKind,
    Redeliver,
    Redelivered,
    RedeliverFrom,
)
from towerlog.model.outcome import Page
from towerlog.model.principal import Scope
from towerlog.model.times import format_ms, format_optional_ms
from towerlog.model.usage import dollars_json

READ, CONTROL = scopes(Scope.READ), scopes(Scope.CONTROL)
DEFAULT_MUTE_MINUTES = 60
_AlertStateWord = Annotated[AlertState, v.said("Whether it lasts.", "ALERT")]
_DeliveryWord = Annotated[DeliveryState, v.said("`failed`: it is not attempted any more.", "delivered")]


class AlertsQuery(CursorQuery, frozen=True):
    """Filters; all of them apply."""

    rule_id: v.RuleId | None = None
    state: _AlertStateWord | None = None


class DeliveriesQuery(CursorQuery, frozen=True):
    """Filters; all of them apply."""

    rule_id: v.RuleId | None = None
    alert_id: v.AlertId | None = None
    state: _DeliveryWord | None = None


class AlertDetail(msgspec.Struct, frozen=True):
    """An alert: one episode of a rule about one subject."""

    schema_name: ClassVar[str] = "Alert"
    alert_id: v.AlertId
    rule_id: v.RuleId
    rule_name: Annotated[str, v.said("The rule's name when it fired.", "failed writers")]
    trigger: Annotated[AlertTrigger, v.said("What the rule watches.", "error")]
    state: _AlertStateWord
    message: Annotated[str, v.said("What is the matter, for people.", "A run of agent 'writer' has failed: no paper")]
    subject: Annotated[str, v.said("What it is about: a run, a budget, or all that the rule adds up.", f"run:{v.UUID}")]
    episode: Annotated[int, v.said("How often the rule has fired about this subject.", 1)]
    agent_name: v.AgentName | None
    run_id: v.RunId | None
    thread_id: v.ThreadId | None
    run_status: Annotated[str, v.said("The run's status when it fired.", "failed")] | None
    cost_usd: Annotated[msgspec.Raw, v.said("What the run had cost then, in dollars.", 0.42, type=["number", "null"])]
    total_tokens: Annotated[int, v.said("The run's tokens then.", 1200)] | None
    acted: Annotated[AlertAct, v.said("What was asked of the run.", "pause")] | None
    approval_id: Annotated[str, v.said("What a person has to answer so that it is over.", f"{v.UUID}.q3")] | None
    fired_at: Annotated[str, v.time("When it began.")]
    ended_at: Annotated[str, v.time("When it was over.")] | None
    acknowledged_at: Annotated[str, v.time("When somebody saw to it.")] | None
    acknowledged_by_user_id: Annotated[str, v.said("Who that was.", v.UUID, format="uuid")] | None
    muted_until: Annotated[str, v.time("Until when nobody is told of it.")] | None
    not_sent: Annotated[int, v.said("Messages about it that are not kept, since too many waited.", 0)]


class MuteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how long nobody is told."""

    schema_name: ClassVar[str] = "Mute"
    minutes: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=MAX_MINUTES)], v.said("For how long; 0 ends it.", DEFAULT_MUTE_MINUTES)
    ] = float(DEFAULT_MUTE_MINUTES)


class AttemptDetail(msgspec.Struct, frozen=True):
    """One attempt to deliver."""

    schema_name: ClassVar[str] = "DeliveryAttempt"
    at: Annotated[str, v.time("When it began.")]
    duration_ms: v.DurationMs
    status: Annotated[int, v.said("The HTTP status of the answer.", 200)] | None
    error: Annotated[str, v.said("Why it was not accepted.", "answered with 503")] | None


class DeliveryDetail(msgspec.Struct, frozen=True):
    """A message on its way through one channel."""

    schema_name: ClassVar[str] = "Delivery"
    delivery_id: v.DeliveryId
    webhook_id: Annotated[
        str, v.said("The message's name for its receiver, in all attempts: the header `webhook-id`.", "msg_0196b2c4")
    ]
    alert_id: v.AlertId
    rule_id: v.RuleId
    kind: Annotated[NoticeKind, v.said("What it tells of the alert.", "alert.fired")]
    channel: Annotated[ChannelType, v.said("How it is sent.", "webhook")]
    target: (
        Annotated[str, v.said("Where to; a URL is shown as in the rule.", "https://hooks.example.com/towerlog")] | None
    )
    state: _DeliveryWord
    attempts: Annotated[list[AttemptDetail], v.said("The newest attempts, oldest first.")]
    next_attempt_at: Annotated[str, v.time("When it is attempted next.")] | None
    created_at: v.CreatedAt
    ended_at: Annotated[str, v.time("When it had arrived, or was given up.")] | None
    body: Annotated[
        msgspec.Raw,
        v.said(
            "What it tells, as JSON; an answer link is only in what is sent.", {"type": "alert.fired"}, type="object"
        ),
    ]


class RedeliverBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which deliveries to send anew: those after a cursor, oldest first."""

    schema_name: ClassVar[str] = "Redeliver"
    cursor: Annotated[str, v.said("After which one: `next` of the reply before; without, from the first.", "ZGVs")] | (
        None
    ) = None
    limit: Annotated[Annotated[int, msgspec.Meta(ge=1, le=MAX_REDELIVERED)], v.said("How many at most.", 100)] = 100
    rule_id: v.RuleId | None = None
    state: _DeliveryWord | None = DeliveryState.FAILED


class RedeliveredDetail(msgspec.Struct, frozen=True):
    """How many are due anew."""

    schema_name: ClassVar[str] = "Redelivered"
    redelivered: Annotated[int, v.said("How many.", 3)]
    next: v.NextCursor | None


_MUTE = msgspec.json.Decoder(MuteBody)
_REDELIVER = msgspec.json.Decoder(RedeliverBody)


def alert_of(view: AlertNow) -> AlertDetail:
    """An alert as the API shows it."""
    row: AlertRow = view.alert
    return AlertDetail(
        alert_id=row.alert_id,
        rule_id=row.rule_id,
        rule_name=row.rule_name,
        trigger=row.trigger,
        state=row.state,
        message=row.message,
        subject=row.subject,
        episode=row.episode,
        agent_name=row.agent,
        run_id=row.run_id,
        thread_id=row.thread_id,
        run_status=row.status,
        cost_usd=dollars_json(row.cost_nanos),
        total_tokens=row.total_tokens,
        acted=row.acted,
        approval_id=row.approval_id,
        fired_at=format_ms(row.fired_at),
        ended_at=format_optional_ms(row.ended_at),
        acknowledged_at=format_optional_ms(row.acknowledged_at),
        acknowledged_by_user_id=row.acknowledged_by,
        muted_until=format_optional_ms(row.muted_until),
        not_sent=row.not_sent,
    )


def delivery_of(view: DeliveryNow, *, whole: bool) -> DeliveryDetail:
    """A delivery as the API shows it; `whole`: see `sees_targets`."""
    row: Delivery = view.row
    return DeliveryDetail(
        delivery_id=row.delivery_id,
        webhook_id=row.message_id,
        alert_id=row.alert_id,
        rule_id=row.rule_id,
        kind=row.kind,
        channel=row.channel.type,
        target=(row.channel.target if whole else row.channel.shown()) or None,
        state=row.state,
        attempts=[_attempt_of(one) for one in row.attempts],
        next_attempt_at=format_optional_ms(row.due_at),
        created_at=format_ms(row.created_at),
        ended_at=format_optional_ms(row.ended_at),
        body=row.body,
    )


def _attempt_of(one: Attempt) -> AttemptDetail:
    return AttemptDetail(format_ms(one.at), one.duration_ms, one.status, one.words or None)


def _uuid(text: str | None, name: str) -> str | None:
    """An id of a filter."""
    if not text:
        return None
    try:
        return path_uuid(text, name)
    except NotFound:
        raise invalid_field(name, "must be a UUID") from None


def _decode_list(call: Call) -> ListAlerts:
    before = read_number("alerts", call.query.get("cursor")) or None
    state = call.query.get("state")
    if state and state not in set(AlertState):
        raise invalid_field("state", f"must be one of {', '.join(AlertState)}")
    rule_id = _uuid(call.query.get("rule_id"), "rule_id")
    return ListAlerts(limit_of(call), before, rule_id, AlertState(state) if state else None)


def _decode_get(call: Call) -> GetAlert:
    return GetAlert(path_uuid(call.path["alert_id"], "alert"))


def _decode_acknowledge(call: Call) -> AcknowledgeAlert:
    return AcknowledgeAlert(path_uuid(call.path["alert_id"], "alert"))


def _decode_mute(call: Call) -> MuteAlert:
    alert_id = path_uuid(call.path["alert_id"], "alert")
    body = decode(_MUTE, call.body) if call.has_body else MuteBody()
    return MuteAlert(alert_id, round(body.minutes * MINUTE_MS))


def _decode_deliveries(call: Call) -> ListDeliveries:
    before = read_number("deliveries", call.query.get("cursor")) or None
    state = call.query.get("state")
    if state and state not in set(DeliveryState):
        raise invalid_field("state", f"must be one of {', '.join(DeliveryState)}")
    rule_id, alert_id = (_uuid(call.query.get(name), name) for name in ("rule_id", "alert_id"))
    return ListDeliveries(limit_of(call), before, rule_id, alert_id, DeliveryState(state) if state else None)


def _decode_delivery(call: Call) -> GetDelivery:
    return GetDelivery(path_uuid(call.path["delivery_id"], "delivery"))


def _decode_redeliver(call: Call) -> Redeliver:
    return Redeliver(path_uuid(call.path["delivery_id"], "delivery"))


def _decode_redeliver_from(call: Call) -> RedeliverFrom:
    body = decode(_REDELIVER, call.body) if call.has_body else RedeliverBody()
    rule_id = _uuid(body.rule_id, "rule_id")
    return RedeliverFrom(read_number("redelivered", body.cursor), body.limit, rule_id, body.state)


def _encode_alert(outcome: AlertNow, command: object, call: Call) -> Reply:
    return reply_json(alert_of(outcome))


def _encode_list(outcome: Page, command: object, call: Call) -> Reply:
    return page_reply("alerts", outcome, alert_of)


def _encode_delivery(outcome: DeliveryNow, command: object, call: Call) -> Reply:
    return reply_json(delivery_of(outcome, whole=sees_targets(call.principal)))


def _encode_deliveries(outcome: Page, command: object, call: Call) -> Reply:
    whole = sees_targets(call.principal)
    return page_reply("deliveries", outcome, lambda view: delivery_of(view, whole=whole))


def _encode_redelivered(outcome: Redelivered, command: object, call: Call) -> Reply:
    following = None if outcome.next is None else str(outcome.next)
    return reply_json(RedeliveredDetail(outcome.count, write_cursor("redelivered", following)))


ENDPOINTS = (
    Endpoint(
        "GET", "/api/v1/alerts", "list_alerts", "Alerts, newest first.", READ,
        _decode_list, _encode_list, query=AlertsQuery, reply=Listing[AlertDetail],
    ),
    Endpoint(
        "GET", "/api/v1/alerts/{alert_id}", "get_alert", "An alert.", READ,
        _decode_get, _encode_alert, reply=AlertDetail,
    ),
    Endpoint(
        "POST", "/api/v1/alerts/{alert_id}:acknowledge", "acknowledge_alert",
        "Say that somebody sees to it: no reminders, and the end of one about something that has happened.", CONTROL,
        _decode_acknowledge, _encode_alert, reply=AlertDetail,
    ),
    Endpoint(
        "POST", "/api/v1/alerts/{alert_id}:mute", "mute_alert",
        "Tell nobody of it, nor of further alerts of its rule about the same subject.", CONTROL,
        _decode_mute, _encode_alert, request=MuteBody, reply=AlertDetail,
    ),
    Endpoint(
        "GET", "/api/v1/deliveries", "list_deliveries", "Messages about alerts and their attempts, newest first.",
        READ, _decode_deliveries, _encode_deliveries, query=DeliveriesQuery, reply=Listing[DeliveryDetail],
    ),
    Endpoint(
        "POST", "/api/v1/deliveries:redeliver", "redeliver_deliveries",
        "Send messages anew from a cursor on: those that were given up, or of another state.", CONTROL,
        _decode_redeliver_from, _encode_redelivered, request=RedeliverBody, reply=RedeliveredDetail,
    ),
    Endpoint(
        "GET", "/api/v1/deliveries/{delivery_id}", "get_delivery", "A message and its attempts.", READ,
        _decode_delivery, _encode_delivery, reply=DeliveryDetail,
    ),
    Endpoint(
        "POST", "/api/v1/deliveries/{delivery_id}:redeliver", "redeliver", "Send a message anew, under its own id.",
        CONTROL, _decode_redeliver, _encode_delivery, reply=DeliveryDetail, refuses=(errors.Conflict,),
    ),
)  # fmt: skip
"""The endpoints of alerts and deliveries."""
