"""`AsyncCaller`: a request with its retries, for asyncio. `caller` is generated from this module."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Self, TypeVar

from towerlog.sdk.api.requests import ApiRequest, Listing, headers_of
from towerlog.sdk.wire.address import TIMEOUT_S, Url, server_of
from towerlog.sdk.wire.async_connection import AsyncSignal
from towerlog.sdk.wire.async_http import AsyncHttp
from towerlog.sdk.wire.errors import SdkError
from towerlog.sdk.wire.refusals import understood
from towerlog.sdk.wire.retries import Retries

T = TypeVar("T")


class AsyncCaller:
    """What sends the requests of a client."""

    def __init__(
        self,
        url: Url | None = None,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: Retries | None = None,
    ) -> None:
        """`url` and `api_key` default to TOWERLOG_URL and TOWERLOG_API_KEY. Raises ValueError for invalid ones.

        `timeout_s` is for a whole call with all its retries.
        """
        url, api_key = server_of(url, api_key)
        self.http = AsyncHttp(url, api_key, timeout_s)
        self._timeout_s = timeout_s
        self._retries = retries or Retries()
        self._closed = AsyncSignal()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections: requests under way fail with Unreachable, a `follow` ends."""
        self._closed.set()
        await self.http.close()

    async def _send(self, made: ApiRequest[T], idempotency_key: str | None = None, ends_at: float | None = None) -> T:
        """The result of a request with its retries. `ends_at`: of the longer call that it is a part of."""
        headers = headers_of(made, idempotency_key)
        if ends_at is None:
            ends_at = time.monotonic() + self._timeout_s + made.wait_s
        tried = 0
        while True:
            left_s = max(ends_at - time.monotonic(), 0.0)
            try:
                response = await self.http.request(made.method, made.path, made.body, headers, left_s, made.bytes_max)
                return understood(partial(made.read, response))
            except SdkError as error:
                tried += 1
                pause_s = self._retries.pause_s(tried, error)
                # A pause that ends after the call's time is not begun. Closing the client ends it as well.
                if pause_s is None or time.monotonic() + pause_s >= ends_at:
                    raise
                if await self._closed.wait(pause_s) or time.monotonic() >= ends_at:
                    raise

    async def _all(self, listing: Listing[T], ends_at: float | None = None) -> AsyncIterator[T]:
        made: ApiRequest[Any] | None = listing.first()
        while made is not None:
            page = await self._send(made, ends_at=ends_at)
            for row in page.rows:
                yield row
            made = listing.at(page.next_query) if page.next_query else None
