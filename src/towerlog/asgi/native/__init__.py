"""The native API under /api/v1: what the dialects lack, for the dashboard, the SDK and the command line.

It is a `Dialect` like the others and is served like them; its errors are problem documents.
"""

from __future__ import annotations

from towerlog.asgi.native import access, control, fleet, ingest, registry, reruns, runs
from towerlog.asgi.native.problems import explain
from towerlog.dialects.base import Dialect

NATIVE = Dialect(
    name="native",
    title="Native API",
    endpoints=(
        *fleet.ENDPOINTS,
        *runs.ENDPOINTS,
        *control.ENDPOINTS,
        *reruns.ENDPOINTS,
        *ingest.ENDPOINTS,
        *registry.ENDPOINTS,
        *access.ENDPOINTS,
    ),
    explain=explain,
)
