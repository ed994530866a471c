"""Server-sent events: from lines to frames, as the standard says; knows nothing of what they mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """One event of a stream. `frame_id` is None where it had none of its own."""

    event: str
    data: str
    frame_id: str | None


class FrameReader:
    """Puts the lines of one connection together. A frame that the connection cut off is never given out."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._event = ""
        self._data: list[bytes] = []
        self._frame_id: str | None = None

    def feed(self, line: bytes) -> Frame | None:
        """Takes a line without its end; gives the frame that it completes."""
        if not line:
            return self._finished()
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
                # A comment, which shows that the connection lives, or a field of no use here.
                pass
        return None

    def _finished(self) -> Frame | None:
        data, event, frame_id = self._data, self._event, self._frame_id
        self._data, self._event, self._frame_id = [], "", None
        if not data:
            return None
        return Frame(event or "message", b"\n".join(data).decode("utf-8", "replace"), frame_id)
