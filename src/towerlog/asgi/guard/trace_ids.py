"""Trace ids: the caller's own from `traceparent`, else a fresh one. Every reply carries one."""

from __future__ import annotations

import hashlib

from towerlog.ambient import Ids

_BATCH = 64
_HEX = b"0123456789abcdef"
_SECRET_CHARACTERS = 40
_ZEROS = b"0" * 32


class TraceIds:
    """Fresh trace ids that cannot be guessed from one another, made by the batch: one is needed per request."""

    def __init__(self, ids: Ids) -> None:
        """`ids` gives the secret that all of them are derived from."""
        self._secret = ids.token(_SECRET_CHARACTERS).encode("ascii")
        self._batches = 0
        self.ready: list[str] = []
        """Fresh ids, each to be taken once; `fresh` makes more of them."""

    def fresh(self) -> str:
        """32 hexadecimal digits."""
        if not self.ready:
            self._refill()
        return self.ready.pop()

    def of(self, traceparent: bytes | None) -> str:
        """The trace id of a W3C `traceparent`; a fresh one where it is absent or not well-formed."""
        return (traceparent and trace_of(traceparent)) or self.fresh()

    def _refill(self) -> None:
        self._batches += 1
        text = hashlib.shake_128(b"%s%d" % (self._secret, self._batches)).hexdigest(16 * _BATCH)
        self.ready = [text[at : at + 32] for at in range(0, len(text), 32)]


def trace_of(traceparent: bytes) -> str | None:
    """The trace id of `version-trace-parent-flags`; None when any part of it is not as the standard says."""
    version, trace, parent, flags = traceparent[:2], traceparent[3:35], traceparent[36:52], traceparent[53:55]
    if traceparent[2:3] + traceparent[35:36] + traceparent[52:53] != b"---" or len(flags) != 2:
        return None
    if version == b"ff" or trace == _ZEROS or (version == b"00" and len(traceparent) != 55):
        return None
    if (version + trace + parent + flags).translate(None, _HEX):
        return None
    return trace.decode("ascii")
