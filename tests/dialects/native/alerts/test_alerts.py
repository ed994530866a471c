"""Alerts and deliveries as the native API reads and shows them: no secret, ids of the right form, cursors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.dialects.calls import call
from tests.store.sqlite.alerts.test_alerts import delivery
from towerlog.dialects.native import NATIVE
from towerlog.errors import Invalid, NotFound
from towerlog.model.alert import AlertState, ListAlerts, MuteAlert
from towerlog.model.alert_channel import ChannelSecret
from towerlog.model.delivery import Attempt, DeliveryNow, DeliveryState, ListDeliveries, Redelivered, RedeliverFrom

ID = "0189d3f0-0000-7000-8000-000000000009"


def decoded(name: str, body: Any = None, query: dict[str, str] | None = None, **path: str) -> Any:
    [endpoint] = [one for one in NATIVE.endpoints if one.name == name]
    return endpoint.decode(call(b"" if body is None else body, query=query or {}, path=path))


def encoded(name: str, outcome: Any) -> Any:
    [endpoint] = [one for one in NATIVE.endpoints if one.name == name]
    return msgspec.json.decode(endpoint.encode(outcome, None, call()).body)


def test_a_mute_has_a_time() -> None:
    assert decoded("mute_alert", alert_id=ID) == MuteAlert(ID, 3600_000)
    assert decoded("mute_alert", {"minutes": 0.5}, alert_id=ID.upper()) == MuteAlert(ID, 30_000)
    with pytest.raises(Invalid):
        decoded("mute_alert", {"minutes": -1}, alert_id=ID)
    with pytest.raises(NotFound):
        decoded("mute_alert", alert_id="x")


def test_lists_are_filtered_by_words_and_ids() -> None:
    assert decoded("list_alerts", query={"state": "ALERT", "rule_id": ID}) == ListAlerts(50, None, ID, AlertState.ALERT)
    found = decoded("list_deliveries", query={"state": "failed", "alert_id": ID, "limit": "9"})
    assert found == ListDeliveries(9, None, None, ID, DeliveryState.FAILED)
    for name in ("list_alerts", "list_deliveries"):
        for query in ({"state": "loud"}, {"rule_id": "x"}, {"limit": "0"}):
            with pytest.raises(Invalid):
                decoded(name, query=query)


def test_what_is_sent_anew_goes_on_where_it_ended() -> None:
    assert decoded("redeliver_deliveries") == RedeliverFrom(0, 100, None, DeliveryState.FAILED)
    following = encoded("redeliver_deliveries", Redelivered(3, 17))["next"]
    asked = decoded("redeliver_deliveries", {"cursor": following, "limit": 5, "state": None})
    assert asked == RedeliverFrom(17, 5, None, None)
    assert encoded("redeliver_deliveries", Redelivered(0)) == {"redelivered": 0, "next": None}
    with pytest.raises(Invalid):
        decoded("redeliver_deliveries", {"cursor": "x"})


def test_a_delivery_shows_no_secret() -> None:
    row = delivery(1, ID, attempts=(Attempt(0, 7, words="no answer"),), body=msgspec.Raw(b'{"a":1}'))
    row = msgspec.structs.replace(
        row, channel=msgspec.structs.replace(row.channel, secrets=(ChannelSecret("whsec_x"),))
    )
    shown = encoded("get_delivery", DeliveryNow(row))
    assert "whsec" not in str(shown)
    assert (shown["webhook_id"], shown["body"]) == (f"msg_{ID}", {"a": 1})
    assert shown["attempts"] == [
        {"at": "1970-01-01T00:00:00.000Z", "duration_ms": 7, "status": None, "error": "no answer"}
    ]
