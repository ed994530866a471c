"""Mails as bytes: no text leaves the place that it is written into, and every text arrives as it was."""

from __future__ import annotations

import email
import email.policy
from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.egress.mail.mail_servers import mail_server
from tests.egress.receivers import ORG, outside
from towerlog.egress.mail.letters import MAX_SUBJECT_CHARS, MAX_TEXT_CHARS, composed
from towerlog.egress.mail.mailboxes import Mailbox
from towerlog.egress.outcomes import MailAccepted
from towerlog.egress.plain import lines, one_line

SENDER = Mailbox("alerts@example.com", "Towerlog")

HOSTILE = [
    "x\r\nBcc: thief@example.com",
    "x\nBcc: thief@example.com",
    "x\rBcc: thief@example.com",
    "x\r\n\r\n<html>",
    "x\u2028Bcc: thief@example.com",
    "x\x85Bcc: thief@example.com",
    "x\x0bBcc: thief@example.com",
    "x\x00y",
    "=?utf-8?q?x=0D=0ABcc:_thief@example.com?=",
    "a" * 5000,
    "ü" * 5000,
    "word " * 2000,
    "\u202egnihsihp",
    "\ud800",
    "",
    " ",
]


@pytest.mark.parametrize("text", HOSTILE, ids=[repr(text[:20]) for text in HOSTILE])
async def test_no_text_makes_a_header_or_a_recipient(text: str) -> None:
    async with mail_server() as bag:
        url = f"smtp://127.0.0.1:{bag.port}?from=alerts@example.com"
        mailer = outside(smtp_url=url).mailer
        assert mailer is not None
        outcome = await mailer.send("a@example.net", text, text, "id-1", org_id=ORG)
    assert isinstance(outcome, MailAccepted), outcome
    [envelope], [message] = bag.envelopes, bag.messages
    assert envelope.rcpt_tos == ["a@example.net"]
    assert_tame(envelope.original_content or b"")
    assert len(message["Subject"]) <= MAX_SUBJECT_CHARS


def assert_tame(content: bytes) -> None:
    """The headers that we write, each once, and no line that a server would part."""
    head, _, body = content.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    assert sorted(names) == [
        *(b"Auto-Submitted", b"Content-Transfer-Encoding", b"Content-Type", b"Date", b"From", b"MIME-Version"),
        *(b"Message-ID", b"Subject", b"To"),
    ]
    assert content.isascii()
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert b"\0" not in content
    assert len(body) <= 10 * MAX_TEXT_CHARS


@given(st.text(), st.text(), st.text(max_size=300))
def test_whatever_is_written_makes_one_tame_message(subject: str, text: str, name: str) -> None:
    message = composed(SENDER, Mailbox("a@example.net", name), subject, text, "id-1", 0)
    assert_tame(message)
    read = email.message_from_bytes(message, policy=email.policy.compat32)
    assert shown(read["Subject"]) == one_line(subject, MAX_SUBJECT_CHARS)
    assert parseaddr(read["To"])[1] == "a@example.net"
    assert shown(parseaddr(read["To"])[0]) == one_line(name, MAX_SUBJECT_CHARS)
    body = read.get_payload(decode=True).decode()
    assert body.replace("\r\n", "\n").removesuffix("\n") == lines(text, MAX_TEXT_CHARS).removesuffix("\n")


def shown(header: str) -> str:
    """Decoded once, as a reader's program does."""
    return str(make_header(decode_header(header.replace("\r\n", ""))))


def test_a_long_text_is_cut() -> None:
    content = composed(SENDER, SENDER, "s", "ü" * (MAX_TEXT_CHARS * 2), "id-1", 0)
    assert content.count(b"=C3") <= MAX_TEXT_CHARS
