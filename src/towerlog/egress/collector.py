"""The collector of OpenTelemetry that the operator has named: its address, its headers, and a post to it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from towerlog.egress.http import Poster, headers_fit
from towerlog.egress.outcomes import HttpAnswer, Undelivered
from towerlog.egress.targets import BAD_ESCAPE, Target, read_url

TRACES_PATH = "/v1/traces"
MAX_COLLECTOR_HEADERS = 16
_PROTOBUF = "application/x-protobuf"


class Collector:
    """Where ended runs are sent to."""

    def __init__(self, poster: Poster, url: str, headers: Mapping[str, str]) -> None:
        """`url` as the operator has written it. `headers` may be secrets: they are in no message."""
        self._poster = poster
        self._url = traces_url(url)
        self._headers = {**headers, "Content-Type": _PROTOBUF}
        self.host = read_url(self._url).authority
        """For the log."""

    async def send(self, body: bytes) -> HttpAnswer | Undelivered:
        """Posts a request of OTLP in protobuf. Raises nothing but a cancellation."""
        return await self._poster.post(self._url, body, self._headers, org_id="")


def traces_url(url: str) -> str:
    """The address that takes spans: as it is written, and of a collector that is named without a path the usual one.

    Raises ValueError in words.
    """
    target = read_url(url)
    return url.rstrip("/") + TRACES_PATH if target.path == "/" else url


def read_collector(url: str) -> Target:
    """The parts of the address. Raises ValueError in words for what is none."""
    return read_url(traces_url(url))


def read_headers(text: str) -> dict[str, str]:
    """`name=value,name=value` with percent-encoded values, as OTEL_EXPORTER_OTLP_HEADERS has them.

    Raises ValueError in words that repeat nothing of it.
    """
    found: dict[str, str] = {}
    for number, pair in enumerate(text.split(","), 1):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or BAD_ESCAPE.search(value):
            raise ValueError(f"entry {number} is not name=value with a percent-encoded value")
        found[name] = unquote(value)
    if len(found) > MAX_COLLECTOR_HEADERS:
        raise ValueError(f"has more than {MAX_COLLECTOR_HEADERS} entries")
    if not headers_fit(found):
        raise ValueError("has a header that cannot be sent")
    return found
