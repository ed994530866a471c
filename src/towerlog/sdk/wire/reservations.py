"""The request for money to be held; asked again where the reply may have been lost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from towerlog.sdk.wire.address import TIMEOUT_S, Url
from towerlog.sdk.wire.errors import SdkError
from towerlog.sdk.wire.event_batch import HEADERS, json_bytes
from towerlog.sdk.wire.http import Http
from towerlog.sdk.wire.ids import uuid7
from towerlog.sdk.wire.refusals import accepted, object_of
from towerlog.sdk.wire.retries import Retries

RESERVE = "/api/v1/budgets/reserve"


def reserved(url: Url, api_key: str | None, asked: Mapping[str, object]) -> dict[str, Any]:
    """The server's word on a reservation, asked again where it may have been lost. Raises Unreachable, ApiError."""
    http, body = Http(url, api_key), json_bytes(asked)
    headers, retries, tried = {**HEADERS, "Idempotency-Key": uuid7()}, Retries(), 0
    ends_at = time.monotonic() + TIMEOUT_S
    try:
        while True:
            try:
                left_s = max(ends_at - time.monotonic(), 0.0)
                return object_of(accepted(http.request("POST", RESERVE, body, headers, left_s)))
            except SdkError as error:
                tried += 1
                pause_s = retries.pause_s(tried, error)
                if pause_s is None or time.monotonic() + pause_s >= ends_at:
                    raise
                time.sleep(pause_s)
    finally:
        http.close()
