"""Addresses of mail, and the mail server that the operator names: each read once from its text, strictly."""

from __future__ import annotations

import re
from enum import StrEnum
from urllib.parse import unquote

import msgspec

from towerlog.egress.hosts import BadHost, read_host
from towerlog.egress.plain import one_line

MAX_ADDRESS_CHARS = 254
"""RFC 5321, section 4.5.3.1.3, less the angle brackets."""
MAX_LOCAL_PART_CHARS = 64
MAX_NAME_CHARS = 200
MAX_CREDENTIAL_CHARS = 1000

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_NAMED = re.compile(r"([^<>]*[^<>\s])\s*<([^<>]*)>")
_SERVER = re.compile(r"(smtp|smtps|smtp\+starttls)://(?:([^@/?#]*)@)?([^@/?#]*)/?(?:\?([^#]*))?", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_ESCAPED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


class BadMailbox(ValueError):
    """Not one address of mail; the message says what one looks like."""


class Mailbox(msgspec.Struct, frozen=True):
    """One address, with the name that is shown beside it."""

    address: str
    """ASCII, at most MAX_ADDRESS_CHARS, with nothing in it that ends an argument of SMTP."""
    name: str = ""
    """One line, any language."""

    @property
    def domain(self) -> str:
        """What stands after the @."""
        return self.address.rpartition("@")[2]


def read_mailbox(text: str) -> Mailbox:
    """`local@domain` or `Name <local@domain>`. Raises BadMailbox for all else: lists, and quoted local parts, too."""
    named = _NAMED.fullmatch(text)
    name, address = (named[1], named[2]) if named else ("", text)
    local, _, domain = address.rpartition("@")
    try:
        host = read_host(domain)
    except BadHost:
        host = None
    well = _LOCAL_PART.fullmatch(local) and len(local) <= MAX_LOCAL_PART_CHARS and len(address) <= MAX_ADDRESS_CHARS
    if not well or not isinstance(host, str) or not text.isprintable():
        raise BadMailbox("is no address of mail: write one, as name@example.com or Name <name@example.com>")
    return Mailbox(f"{local}@{host}", one_line(name.strip().strip('"'), MAX_NAME_CHARS))


class MailSecurity(StrEnum):
    """When TLS begins."""

    NONE = "smtp"
    TLS = "smtps"
    STARTTLS = "smtp+starttls"


DEFAULT_MAIL_PORTS = {MailSecurity.NONE: 25, MailSecurity.TLS: 465, MailSecurity.STARTTLS: 587}


class MailServer(msgspec.Struct, frozen=True):
    """The operator's own mail server: the guard of addresses does not hold for it."""

    security: MailSecurity
    host: str
    """An address, or a name in lower case."""
    port: int
    sender: Mailbox
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Without the password: values end up in tracebacks and logs."""
        return f"MailServer({self.security}://{self.host}:{self.port}, sender={self.sender.address!r})"


def parse_mail_server(url: str) -> MailServer:
    """The value of TOWERLOG_SMTP_URL. Raises ValueError in words that never repeat it, since it has a password."""
    shape = _SERVER.fullmatch(url)
    if shape is None:
        raise ValueError(
            "must be smtp://, smtps:// or smtp+starttls://[USER:PASSWORD@]HOST[:PORT]?from=ADDRESS, with USER and "
            "PASSWORD percent-encoded"
        )
    security = MailSecurity(shape[1])
    user, password = _credentials(shape[2])
    host, port = _host_and_port(shape[3], DEFAULT_MAIL_PORTS[security])
    return MailServer(security, host, port, _sender(shape[4] or ""), user, password)


def _credentials(text: str | None) -> tuple[str, str]:
    if text is None:
        return "", ""
    user, colon, password = text.partition(":")
    if not (user and colon and password) or len(text) > MAX_CREDENTIAL_CHARS or not _ESCAPED.fullmatch(text):
        raise ValueError("what stands before the @ must be USER:PASSWORD, both percent-encoded")
    try:
        found = unquote(user, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("USER and PASSWORD must be percent-encoded UTF-8") from None
    if not all(part.isprintable() for part in found):
        raise ValueError("USER and PASSWORD must not have control characters")
    return found


def _host_and_port(text: str, default_port: int) -> tuple[str, int]:
    head, bracket, tail = text.rpartition("]")
    host, colon, port = tail.partition(":")
    try:
        name = str(read_host(head + bracket + host))
    except BadHost as error:
        raise ValueError(str(error)) from None
    if colon and not (_PORT.fullmatch(port) and int(port) <= 65535):
        raise ValueError("the port must be a number from 1 to 65535")
    return name, int(port) if colon else default_port


def _sender(query: str) -> Mailbox:
    name, _, value = query.partition("=")
    if name != "from" or "&" in value:
        raise ValueError("must end in ?from=ADDRESS, the address that mail comes from, and nothing else")
    try:
        return read_mailbox(unquote(value))
    except BadMailbox as error:
        raise ValueError(f"from {error}") from None
