"""What a run was asked to do: read from the body of its first event, or of the start that it reported."""

from __future__ import annotations

import msgspec

from towerlog.model.event import Event


class RunRequest(msgspec.Struct, frozen=True):
    """What the first event of a run that was made for workers says of it."""

    input: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    labels: dict[str, str] = {}

    def input_text(self) -> bytes | None:
        """JSON text of the input, None without one."""
        return _given(self.input)

    def metadata_text(self) -> bytes | None:
        """JSON text of the metadata, None without any."""
        return _given(self.metadata)


_decode_request = msgspec.json.Decoder(RunRequest).decode


def _given(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == b"null" else text


class _ReportedStart(msgspec.Struct, frozen=True):
    input: msgspec.Raw = msgspec.Raw(b"null")


_decode_start = msgspec.json.Decoder(_ReportedStart).decode


def reported_request(start: Event) -> RunRequest:
    """What a reported start says of its run's input. Whatever else its sender put there is the sender's own."""
    return RunRequest(input=_decode_start(start.data).input)


def request_of(first: Event | None) -> RunRequest | None:
    """What a run's first event asked for; None where that is not there any more."""
    return None if first is None else _decode_request(first.data)
