"""Messages of JSON-RPC as they come and as they go: what is none is refused, and no error sends back what is long.

What speaks the protocol takes a request whose id is none for a notification, and puts what it was sent into its errors.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.dialects.base import JSON, Reply

MAX_ID_BYTES = 256
"""Of the id of a message, as JSON: each reply has it."""
MAX_METHOD_CHARS = 200
MAX_ERROR_CHARS = 1000
"""Of the words of an error."""
MAX_ERROR_DATA_CHARS = 200
"""Of each text of what an error says beside its words."""
MAX_ERROR_DATA_BYTES = 4096
"""Of all that it says beside them; more is left out."""
PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS = -32700, -32600, -32602
"""The numbers that JSON-RPC has for what is no JSON, for what is no message, and for parameters that are none."""
UNREADABLE = "Validation error"
"""How an error of the library begins whose rest is about its own types."""
_NO_MESSAGE = "The body is no request, notification or response of JSON-RPC."
_NONE = msgspec.Raw(b"null")


class _Error(msgspec.Struct):
    code: int
    message: str
    data: Any = msgspec.UNSET


class _Failed(msgspec.Struct):
    error: _Error
    id: msgspec.Raw = _NONE
    jsonrpc: str = "2.0"


_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_failed = msgspec.json.Decoder(_Failed).decode
_read_any = msgspec.json.Decoder().decode


def fault_of(body: bytes) -> Reply | None:
    """Why a body is no message, as a reply; None for what may be one."""
    try:
        members = _members_of(body)
    except msgspec.ValidationError:
        return _refused(INVALID_REQUEST, "A message is one JSON object.")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _refused(PARSE_ERROR, "The body is not valid JSON.")
    message_id = members.get("id", _NONE)
    # That of a response to what could not be read is null, and no request has such an id.
    if "id" in members and not _is_id(message_id) and ("method" in members or bytes(message_id) != b"null"):
        return _refused(INVALID_REQUEST, f"`id` must be a text or a whole number, of at most {MAX_ID_BYTES} bytes.")
    if _value(members, "jsonrpc") != "2.0":
        return _refused(INVALID_REQUEST, '`jsonrpc` must be "2.0".', message_id)
    if "method" not in members and "result" not in members and "error" not in members:
        return _refused(INVALID_REQUEST, "`method` is missing.", message_id)
    method = _value(members, "method") if "method" in members else ""
    if not isinstance(method, str) or len(method) > MAX_METHOD_CHARS:
        why = f"`method` must be a text of at most {MAX_METHOD_CHARS} characters."
        return _refused(INVALID_REQUEST, why, message_id)
    if bytes(members.get("params", _NONE))[:1] not in (b"{", b"n"):
        return _refused(INVALID_PARAMS, "`params` must be an object.", message_id)
    return None


def _value(members: dict[str, msgspec.Raw], name: str) -> Any:
    """A member; None for one that is not there, and for one that cannot be read."""
    try:
        return _read_any(members.get(name, _NONE))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _is_id(raw: msgspec.Raw) -> bool:
    text = bytes(raw)
    if len(text) > MAX_ID_BYTES:
        return False
    return text[:1] == b'"' or text.removeprefix(b"-").isdigit()


def _refused(code: int, why: str, message_id: msgspec.Raw = _NONE) -> Reply:
    return Reply(400, msgspec.json.encode(_Failed(_Error(code, why), message_id)), JSON)


def bounded(body: bytes) -> bytes:
    """The body of a reply; of an error, its texts are cut, and what it tells of a library's types is left out."""
    if b'"error"' not in body:
        return body
    try:
        failed = _read_failed(body)
    except msgspec.ValidationError:  # a result
        return body
    error = failed.error
    error.message = _NO_MESSAGE if error.message.startswith(UNREADABLE) else _cut(error.message, MAX_ERROR_CHARS)
    error.data = _cut_all(error.data)
    if error.data is not msgspec.UNSET and len(msgspec.json.encode(error.data)) > MAX_ERROR_DATA_BYTES:
        error.data = msgspec.UNSET
    return msgspec.json.encode(failed)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _cut_all(value: Any) -> Any:
    """A value with each of its texts cut."""
    match value:
        case str():
            return _cut(value, MAX_ERROR_DATA_CHARS)
        case list():
            return [_cut_all(one) for one in value]
        case dict():
            return {_cut(str(name), MAX_ERROR_DATA_CHARS): _cut_all(one) for name, one in value.items()}
        case _:
            return value
