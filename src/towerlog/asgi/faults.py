"""Refusals on their way out: every error leaves in the words of the dialect that was spoken to.

The table of error codes and HTTP statuses is `dialects.base.STATUSES`; here are the few statuses that only a
transport knows (408, 414, 415, 421) and the headers that belong to a refusal, whoever worded it.
"""

from __future__ import annotations

import http
from collections.abc import Mapping

import msgspec

from towerlog.asgi.replies import Headers
from towerlog.dialects.base import PROBLEM, Dialect, Reply, error_headers
from towerlog.errors import TowerlogError

NOTHING_SENT: Mapping[bytes, bytes] = {}


class Rejection(Exception):
    """A refusal whose status HTTP alone knows; `error` is what a dialect can put into words."""

    def __init__(self, status: int, error: TowerlogError, headers: Headers = ()) -> None:
        """`headers` go out with the reply."""
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = headers


def explain(
    dialect: Dialect, fault: TowerlogError | Rejection, trace_id: str, sent: Mapping[bytes, bytes] = NOTHING_SENT
) -> Reply:
    """The reply to a fault in the dialect's form, with every header that its status asks for.

    `sent`: the headers of the request, for a dialect that answers in the encoding of that.
    """
    if isinstance(fault, Rejection):
        reply, headers = _restated(dialect.explain(fault.error, trace_id), fault.status), fault.headers
    else:
        reply = dialect.explain(fault, trace_id)
        headers = error_headers(fault, reply.status)
    return with_headers(reply if dialect.recode is None else dialect.recode(reply, sent), headers)


def with_headers(reply: Reply, wanted: Headers) -> Reply:
    """The reply with these headers where it does not have them already."""
    present = {name.lower() for name, _ in reply.headers}
    missing = tuple(header for header in wanted if header[0] not in present)
    return msgspec.structs.replace(reply, headers=reply.headers + missing) if missing else reply


def _restated(reply: Reply, status: int) -> Reply:
    """The same words under another status; a problem document says its status in its body as well."""
    body = reply.body
    if reply.content_type == PROBLEM:
        problem = msgspec.json.decode(body)
        problem |= {"status": status, "title": http.HTTPStatus(status).phrase}
        body = msgspec.json.encode(problem)
    return msgspec.structs.replace(reply, status=status, body=body)
