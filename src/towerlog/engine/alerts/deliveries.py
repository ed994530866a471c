"""What is told of an alert, written as a delivery for each of its channels, as far as a commit has room."""

from __future__ import annotations

import msgspec

from towerlog.engine.alerts.answer_links import link_for
from towerlog.engine.alerts.messages import approval_of
from towerlog.engine.plan.plan import Plan
from towerlog.model.alert_channel import ChannelType
from towerlog.model.delivery import Delivery, DeliveryBody, DeliveryState


def write_deliveries(plan: Plan, told: DeliveryBody, *, is_stored: bool = False) -> None:
    """Writes as many of the deliveries of a body as this commit has room for; the others stay `unwritten` in it."""
    org, rule = told.org, plan.alerts.rule(told.org, told.rule_id)
    approval_id = approval_of(told.body) if told.with_link else None
    room = plan.alerts.room(org, len(told.unwritten))
    for channel in told.unwritten[:room]:
        is_here = channel.type is ChannelType.IN_APP
        # A link of a rule that is gone would answer nothing.
        with_link = told.with_link and not is_here and rule is not None
        delivery = Delivery(
            org=org,
            delivery_id=plan.ids.uuid(),
            alert_id=told.alert_id,
            rule_id=told.rule_id,
            kind=told.kind,
            channel=channel,
            created_at=told.created_at,
            body_id=told.body_id,
            state=DeliveryState.DELIVERED if is_here else DeliveryState.PENDING,
            due_at=None if is_here else plan.now_ms,
            ended_at=plan.now_ms if is_here else None,
            link=link_for(plan, rule, told.alert_id, approval_id, channel) if with_link and rule is not None else None,
        )
        plan.alerts.add_delivery(delivery, plan.now_ms)
    left = msgspec.structs.replace(told, unwritten=told.unwritten[room:])
    plan.alerts.put_body(left, told if is_stored else None)
