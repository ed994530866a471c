"""Server-sent events: lines to frames, as the HTML standard defines them. Does not interpret their data."""

from __future__ import annotations

from dataclasses import dataclass

from towerlog.sdk.wire.address import MAX_LINE_BYTES
from towerlog.sdk.wire.errors import BadAnswer


@dataclass(frozen=True)
class Frame:
    """One event of a stream. `frame_id` is None if the frame has no id."""

    event: str
    data: str
    frame_id: str | None


class FrameReader:
    """Assembles the lines of one connection. An incomplete frame at its end is dropped."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._event = ""
        self._data: list[bytes] = []
        self._frame_id: str | None = None
        self._size = 0

    def feed(self, line: bytes) -> Frame | None:
        """Takes a line without its end; returns the frame that it completes. Raises BadAnswer for a frame too large."""
        if not line:
            return self._finished()
        # With the line's end: a frame of very many empty lines is large as well.
        self._size += len(line) + 1
        if self._size > MAX_LINE_BYTES:
            raise BadAnswer("a frame of the stream is too large")
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
            case b"event":
                self._event = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._frame_id = value.decode("utf-8", "replace")
            case _:
                # A comment, such as a ping, or a field that is not used here.
                pass
        return None

    def _finished(self) -> Frame | None:
        data, event, frame_id = self._data, self._event, self._frame_id
        self._data, self._event, self._frame_id, self._size = [], "", None, 0
        if not data:
            return None
        return Frame(event or "message", b"\n".join(data).decode("utf-8", "replace"), frame_id)
