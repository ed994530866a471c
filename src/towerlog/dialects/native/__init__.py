"""The native API under /api/v1: what the dialects lack, for the dashboard, the SDK and the command line.

A `Dialect` that is served like the others. Its errors are problem documents.
"""

from __future__ import annotations

import msgspec

from towerlog.dialects.base import Dialect
from towerlog.dialects.native import agents, events, keys, lanes, personas, runs, steering, usage
from towerlog.dialects.native.problems import explain
from towerlog.dialects.native.samples import SAMPLES

_PARTS = (agents, lanes, usage, runs, steering, events, personas, keys)

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
