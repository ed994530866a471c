"""Bodies in their compressed form (zstd)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import zstandard

_NO_MEMORY = "not enough memory"
"""What zstd says where it gets none, with the same exception as for what is damaged."""
PackingError = zstandard.ZstdError
"""What `unpacked_bytes` raises for what was never packed."""


class Packer(msgspec.Struct, eq=False):
    """Compresses and restores the bodies of one transaction or one question.

    To make a context of zstd takes longer than to compress a message with it, and threads must not share one.
    """

    # Contexts are made at their first use: most transactions and questions need none.
    _compress: Callable[[bytes], bytes] | None = None
    _decompress: Callable[[bytes], bytes] | None = None

    def pack(self, body: bytes) -> bytes:
        """Compressed bytes; the frame holds its own decoded size."""
        if self._compress is None:
            self._compress = zstandard.ZstdCompressor(level=3).compress
        try:
            return self._compress(body)
        except zstandard.ZstdError as error:
            raise MemoryError(str(error)) from error  # nothing else keeps a body from being compressed

    def unpack(self, body: bytes) -> bytes:
        """What `pack` was given. Raises ValueError for anything else."""
        if self._decompress is None:
            self._decompress = zstandard.ZstdDecompressor().decompress
        try:
            return self._decompress(body)
        except zstandard.ZstdError as error:
            if _NO_MEMORY in str(error):
                raise MemoryError(str(error)) from error
            raise ValueError(f"a compressed body is damaged: {error}") from error


def unpacked_bytes(body: bytes) -> int:
    """How long a packed body is when it is unpacked."""
    return int(zstandard.frame_content_size(body))
