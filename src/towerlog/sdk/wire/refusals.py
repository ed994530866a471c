"""The one reader of refusals: whichever dialect or proxy has refused, it becomes an `ApiError`.

{"code", "detail", "errors"}        the native API (problem+json)
{"code", "message", "details"}      runs
{"error": "…", "code", "fieldErrors"}   lanes; its codes are in upper case
{"error": "code", "detail"}         activity
{"error": {"code", "message"}}      gateways
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from towerlog.sdk.wire import json_text
from towerlog.sdk.wire.address import Response
from towerlog.sdk.wire.errors import ApiError, BadAnswer

T = TypeVar("T")

MAX_MESSAGE_CHARS = 2_000
"""Characters of a refusal's text that are kept: a proxy's page may have many."""
NO_REASON = "The server gave no reason."
NO_CODE = "http"
"""The code of a refusal that names none."""


def json_of(response: Response) -> Any:
    """The JSON value in a good reply. Raises ApiError for a refusal, BadAnswer for what is not JSON."""
    accepted(response)
    try:
        return json_text.read(response.body)
    except ValueError:
        raise BadAnswer(f"the server answered {response.status} with something that is not JSON") from None


def object_of(response: Response) -> dict[str, Any]:
    """The JSON object in a good reply. Raises ApiError, BadAnswer."""
    found = json_of(response)
    if not isinstance(found, dict):
        raise BadAnswer(f"the server answered {response.status} with JSON that is not an object")
    return found


def understood(read: Callable[[], T]) -> T:
    """What a reader makes of a reply. Raises BadAnswer where the reply is not of the form that it takes."""
    try:
        return read()
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BadAnswer(f"the server's reply has another form than was asked for ({type(error).__name__})") from None


def accepted(response: Response) -> Response:
    """The reply, unless it is a refusal. Raises ApiError."""
    if response.status >= 300:
        raise refusal(response)
    return response


def refusal(response: Response) -> ApiError:
    """What a refusal says. `code` is in lower case, so that one name stands for one reason in every dialect."""
    said = _object_in(response.body)
    trace_id = response.headers.get("x-trace-id")
    if said is None:
        text = printable(response.body[:MAX_MESSAGE_CHARS].decode("utf-8", "replace"))
        return ApiError(response.status, NO_CODE, text or NO_REASON, None, trace_id, response.retry_after_s)
    error = said.get("error")
    # A gateway nests everything in an object `error`; in other dialects it is text.
    inner: Mapping[str, Any] = error if isinstance(error, dict) else said
    text_of_error = error if isinstance(error, str) else None
    code = inner.get("code") or text_of_error or NO_CODE
    message = inner.get("message") or inner.get("detail") or text_of_error or NO_REASON
    details = inner.get("details") or inner.get("errors") or inner.get("fieldErrors")
    known = (
        {printable(str(name)): printable(str(what)) for name, what in details.items()}
        if isinstance(details, dict)
        else None
    )
    return ApiError(
        response.status,
        printable(str(code).lower()),
        printable(str(message)),
        known,
        printable(str(said.get("trace_id") or trace_id or "")) or None,
        response.retry_after_s,
    )


def printable(text: str) -> str:
    """A server's words on one line without what could control a terminal or pretend to be a line of a log, shortened.

    Errors end up in logs and on terminals that nobody of the SDK knows.
    """
    text = text[:MAX_MESSAGE_CHARS]
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(text.split())


def _object_in(body: bytes) -> dict[str, Any] | None:
    try:
        said = json_text.read(body)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
