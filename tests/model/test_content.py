"""Names of content: of a message by its text, of a prefix and of a meta list by all that is in it, in order."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from towerlog.model.content import NAME_BYTES, message_name, metas_name, prefix_names


def test_a_name_covers_everything_before_it() -> None:
    assert message_name(b"a") == hashlib.sha256(b"a").digest()[:NAME_BYTES]
    one, two = prefix_names([b"a", b"b", b"c"]), prefix_names([b"x", b"b", b"c"])
    assert not set(one) & set(two)
    assert prefix_names([b"b", b"c"], one[0]) == one[1:]


def test_a_meta_list_has_the_name_of_the_whole_however_it_is_cut() -> None:
    assert metas_name(b"[2,3]", metas_name(b"[1]")) == metas_name(b"[1, 2,3]")
    assert metas_name(b"[1]") != prefix_names([b"1"])[0], "it is no history"
    with pytest.raises(IndexError):
        metas_name(b"[]")
    with pytest.raises(msgspec.DecodeError):
        metas_name(b"[")
