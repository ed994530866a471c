"""A mail as bytes: every header on lines that are made here, every text encoded.

Headers are not left to Python's `email`: in versions that are still in use it decodes what looks like an encoded word
and writes the result, line ends and all, so that a subject can begin a header of its own.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from email.utils import format_datetime

from towerlog.egress.mail.mailboxes import Mailbox
from towerlog.egress.plain import lines, one_line

MAX_SUBJECT_CHARS = 200
MAX_TEXT_CHARS = 50_000

_WORD_BYTES = 45
"""Of UTF-8 in one encoded word: with its frame it has 72 characters, and may have 75 (RFC 2047, section 2)."""
_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"'})


def composed(sender: Mailbox, recipient: Mailbox, subject: str, text: str, mail_id: str, now_ms: int) -> bytes:
    """The message as it is sent: ASCII, no line longer than 998 characters, lines end in CR LF.

    `mail_id` is of letters, digits, `_` and `-`; `now_ms` is wall time. Subject and text may be anything.
    """
    headers = {
        "From": _mailbox(sender),
        "To": _mailbox(recipient),
        "Subject": _unstructured(one_line(subject, MAX_SUBJECT_CHARS)),
        "Date": format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC)),
        "Message-ID": f"<{mail_id}@{sender.domain}>",
        # RFC 3834: nobody's absence is answered to a machine.
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "quoted-printable",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    shown = lines(text, MAX_TEXT_CHARS).removesuffix("\n") + "\n"
    body = binascii.b2a_qp(shown.encode(), istext=True)
    return head.encode("ascii") + b"\r\n" + body.replace(b"\n", b"\r\n")


def _mailbox(mailbox: Mailbox) -> str:
    """As it stands in a header: its name, if it has one, before the address in angle brackets."""
    name = one_line(mailbox.name, MAX_SUBJECT_CHARS)
    if not name:
        return mailbox.address
    shown = f'"{name.translate(_QUOTED)}"' if _is_plain(name) else _words(name)
    return f"{shown}\r\n <{mailbox.address}>"


def _unstructured(text: str) -> str:
    return text if _is_plain(text) else _words(text)


def _is_plain(text: str) -> bool:
    """Whether a text of one line can stand in a header as it is: no reader takes it for an encoded word."""
    return text.isascii() and "=?" not in text


def _words(text: str) -> str:
    """In encoded words of whole characters, a line each (RFC 2047)."""
    parts, part = [], b""
    for character in text:
        encoded = character.encode()
        if len(part) + len(encoded) > _WORD_BYTES:
            parts.append(part)
            part = b""
        part += encoded
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(one).decode()}?=" for one in [*parts, part])
