"""The query string: decoded once, bounded, the last of several values wins, or none."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from towerlog.asgi.faults import Rejection
from towerlog.dialects.fields import MAX_SHOWN_CHARS, invalid_field
from towerlog.errors import Malformed

MAX_QUERY_BYTES = 8192
MAX_FIELDS = 100
NO_QUERY: Mapping[str, str] = {}
TICKET = "ticket"
"""The parameter of a stream that carries a ticket. It says who asks, as a header does, and nothing of what is asked."""


def parse_query(text: bytes, *, once: bool = False) -> Mapping[str, str]:
    """Names and values; bytes that are no UTF-8 become replacement characters.

    `once`: no name may come twice. Raises Malformed, Invalid, Rejection (414).
    """
    if not text:
        return NO_QUERY
    if len(text) > MAX_QUERY_BYTES:
        raise Rejection(414, Malformed(f"The query is longer than {MAX_QUERY_BYTES} bytes."))
    try:
        pairs = parse_qsl(text.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Malformed(f"The query has more than {MAX_FIELDS} fields.") from None
    found = dict(pairs)
    if once and len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise invalid_field(twice[:MAX_SHOWN_CHARS], "is given more than once")
    return found
