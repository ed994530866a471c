"""The native API under /api/v1: what the dialects lack, for the dashboard, the SDK and the command line.

A `Dialect` that is served like the others. Its errors are problem documents.
"""

from __future__ import annotations

import msgspec

from towerlog.dialects.base import Dialect
from towerlog.dialects.native import agents, events, keys, lanes, personas, runs, steering, usage
from towerlog.dialects.native.admin import audit, members, retention, sessions
from towerlog.dialects.native.alerts import alerts, rules
from towerlog.dialects.native.approvals import approvals
from towerlog.dialects.native.money import budgets, prices, reservations
from towerlog.dialects.native.problems import explain
from towerlog.dialects.native.samples import SAMPLES
from towerlog.dialects.native.screens import figures, live, outline, traces

_PARTS = (
    agents,
    lanes,
    usage,
    runs,
    live,
    figures,
    outline,
    traces,
    steering,
    events,
    personas,
    keys,
    members,
    sessions,
    budgets,
    reservations,
    prices,
    approvals,
    audit,
    retention,
    rules,
    alerts,
)

NATIVE = Dialect(
    name="native",
    title="Native API: batches of events, steering, budgets, alerts, approvals, and everything that can be read",
    endpoints=tuple(
        msgspec.structs.replace(endpoint, sample=SAMPLES[endpoint.name])
        for part in _PARTS
        for endpoint in part.ENDPOINTS
    ),
    explain=explain,
)
