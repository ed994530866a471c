"""The query string: decoded once, bounded, the last of several values wins."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from towerlog.asgi.faults import Rejection
from towerlog.errors import Malformed

MAX_QUERY_BYTES = 8192
MAX_FIELDS = 100
NO_QUERY: Mapping[str, str] = {}
TICKET = "ticket"
"""The parameter of a stream that carries a ticket. It says who asks, as a header does, and nothing of what is asked."""


def parse_query(text: bytes) -> Mapping[str, str]:
    """Names and values; bytes that are no UTF-8 become replacement characters. Raises Malformed, Rejection (414)."""
    if not text:
        return NO_QUERY
    if len(text) > MAX_QUERY_BYTES:
        raise Rejection(414, Malformed(f"The query is longer than {MAX_QUERY_BYTES} bytes."))
    try:
        pairs = parse_qsl(text.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Malformed(f"The query has more than {MAX_FIELDS} fields.") from None
    return dict(pairs)
