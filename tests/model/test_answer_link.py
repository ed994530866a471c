"""Tokens of answer links: read by whoever has the secret, opaque to everybody else."""

from __future__ import annotations

from base64 import urlsafe_b64decode

from hypothesis import given
from hypothesis import strategies as st

from towerlog.model.answer_link import opened, path_of, seal
from towerlog.model.approval import AnswerLink, ApprovalRef

SECRET = "a-secret-of-a-store"
LINK = AnswerLink(
    1234567,
    "org-of-acme",
    ApprovalRef("0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55", 2),
    "user-of-ada",
    "key-of-ada",
    "grace@example.com",
    1_700_000_000_000,
    "nonce",
)


def test_who_has_a_link_learns_nothing_by_it() -> None:
    token = path_of(SECRET, LINK).removeprefix("/a/")
    said = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for word in (b"1234567", b"acme", b"0196b2c4", b"ada", b"grace", b"example", b"17000", b"nonce"):
        assert word not in said[32:], word
    assert opened(SECRET, token) == LINK


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_link_is_read_with_its_secret_alone(sent_to: str, other: str) -> None:
    link = AnswerLink(1, "o", LINK.ref, "u", "k", sent_to.encode("utf-8", "replace").decode(), 5, "n")
    token = seal(SECRET, link)
    assert opened(SECRET, token) == link
    assert opened(SECRET + "x", token) is None
    changed = ("B" if token[50] == "A" else "A").join((token[:50], token[51:]))
    assert opened(SECRET, changed) is None


def test_two_links_have_no_part_in_common() -> None:
    one, two = (urlsafe_b64decode(seal(SECRET, AnswerLink(1, "o", LINK.ref, "u", "k", "a", 5, n)) + "==") for n in "ab")
    alike = sum(first == second for first, second in zip(one, two, strict=True))
    assert alike < len(one) / 8
