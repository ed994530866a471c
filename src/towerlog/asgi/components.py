"""Everything that a gate works with; put together by `asgi/app.py`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from towerlog.ambient import Clock
from towerlog.asgi.bodies import Bodies
from towerlog.asgi.guard.addresses import Addresses
from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.guard.cors import Cors
from towerlog.asgi.guard.decoding import Decoding
from towerlog.asgi.guard.heartbeats import Heartbeats
from towerlog.asgi.guard.hosts import Hosts
from towerlog.asgi.guard.ledger import ShareLedger
from towerlog.asgi.guard.limits import Limiter
from towerlog.asgi.guard.pace import Pace
from towerlog.asgi.guard.trace_ids import TraceIds
from towerlog.asgi.pages.meters import Meters
from towerlog.asgi.routes import RouteTable
from towerlog.dialects.base import DialectSettings
from towerlog.engine.core import Engine


class Components(msgspec.Struct, frozen=True):
    """Everything that a gate works with; put together by `asgi/app.py`."""

    table: RouteTable
    engine: Engine
    auth: Authenticator
    bodies: Bodies
    decoding: Decoding
    ledger: ShareLedger
    pace: Pace
    limiters: Mapping[str, Limiter]
    """By dialect; a dialect without one is not limited."""
    addresses: Addresses
    hosts: Hosts
    cors: Cors
    heartbeats: Heartbeats
    meters: Meters
    traces: TraceIds
    clock: Clock
    settings: DialectSettings
    log_requests: bool = False
    """Whether each request is logged as it is answered."""
