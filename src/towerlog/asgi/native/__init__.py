"""The native API under /api/v1: what the dialects lack, for the dashboard, the SDK and the command line.

It is a `Dialect` like the others and is served like them; its errors are problem documents.
"""

from __future__ import annotations

import msgspec

from towerlog.asgi.native import access, control, fleet, ingest, registry, reruns, runs
from towerlog.asgi.native.problems import explain
from towerlog.asgi.native.samples import SAMPLES
from towerlog.dialects.base import Dialect

_PARTS = (fleet, runs, control, reruns, ingest, registry, access)

NATIVE = Dialect(
    name="native",
    title="Native API: batches of events, steering, personas, and everything that can be read",
    endpoints=tuple(
        msgspec.structs.replace(endpoint, sample=SAMPLES[endpoint.name])
        for part in _PARTS
        for endpoint in part.ENDPOINTS
    ),
    explain=explain,
)
