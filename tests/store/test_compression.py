"""Compression says what it lacks memory for, and calls nothing damaged that is whole."""

from __future__ import annotations

import re

import pytest
import zstandard

from towerlog.store.compression import Packer


def _without_memory(_body: bytes) -> bytes:
    raise zstandard.ZstdError("cannot compress: Allocation error : not enough memory")


def test_what_lacks_memory_is_told_as_that() -> None:
    packer = Packer(_compress=_without_memory, _decompress=_without_memory)
    for work in (packer.pack, packer.unpack):
        with pytest.raises(MemoryError, match="not enough memory"):
            work(b"body")


def test_a_damaged_body_is_still_told_as_damaged() -> None:
    packer = Packer()
    assert packer.unpack(packer.pack(b"body")) == b"body"
    with pytest.raises(ValueError, match=re.escape("a compressed body is damaged")):
        packer.unpack(b"no frame")
