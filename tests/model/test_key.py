"""API keys as text: made, recognised, and reduced to what may be stored."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.key import KINDS, RANDOM_LENGTH, digest_of, hint_of, is_intact, make_key

LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM = st.text(LETTERS, min_size=RANDOM_LENGTH, max_size=RANDOM_LENGTH)
KEYS = st.builds(make_key, RANDOM, st.sampled_from(KINDS))


@given(KEYS)
def test_a_made_key_is_intact_and_one_word(key: str) -> None:
    assert is_intact(key)
    assert re.fullmatch(r"tl_[a-z]+_\w{8}_\w{38}", key)


@given(KEYS, st.data())
def test_a_mistyped_letter_is_noticed(key: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from([one for one in LETTERS if one != key[place]]))
    assert not is_intact(key[:place] + letter + key[place + 1 :])


@given(KEYS, st.integers(0, 60))
def test_a_cut_key_is_noticed(key: str, length: int) -> None:
    assert is_intact(key[:length]) == (length >= len(key))


@given(st.text())
def test_any_text_is_a_key_or_not(text: str) -> None:
    assert not is_intact(text)


@pytest.mark.parametrize(
    ("random", "kind"),
    [("a" * (RANDOM_LENGTH - 1), "live"), ("é" * RANDOM_LENGTH, "live"), ("a_" * 20, "live"), ("a" * 40, "root")],
)
def test_a_key_is_not_made_of_anything_else(random: str, kind: str) -> None:
    with pytest.raises(ValueError, match="a key needs"):
        make_key(random, kind)


@given(KEYS)
def test_the_hint_gives_nothing_of_the_secret(key: str) -> None:
    _, kind, public, _ = key.split("_")
    assert hint_of(key) == f"tl_{kind}_{public}_"


def test_the_hint_of_a_foreign_key_is_four_letters() -> None:
    assert hint_of("super-secret-bootstrap-key-of-32-characters") == "supe"


@given(KEYS, KEYS)
def test_only_the_same_key_has_the_same_digest(one: str, other: str) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)
    assert len(digest_of(one)) == 32
