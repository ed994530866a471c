"""Real mail servers (aiosmtpd) that keep what they were sent, with TLS and logins as asked for."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "towerlog@example.com", "p:a/s@s% w\u00f6rd"


class Mailbag:
    """What a server has taken."""

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        """`answers`: what it says to RCPT or DATA instead of accepting."""
        self.port = 0
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []
        self.answers = answers or {}
        self.protocols: list[str | None] = []
        """What each client has said over TLS that it speaks, of what the server does."""

    async def handle_RCPT(  # noqa: N802 the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "RCPT" in self.answers:
            return self.answers["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "DATA" in self.answers:
            return self.answers["DATA"]
        self.envelopes.append(envelope)
        if (layer := server.transport.get_extra_info("ssl_object")) is not None:
            self.protocols.append(layer.selected_alpn_protocol())
        self.sessions.append(session)
        return "250 kept"

    @property
    def messages(self) -> list[EmailMessage]:
        return [_read(envelope.original_content or b"") for envelope in self.envelopes]


def _read(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


@contextlib.asynccontextmanager
async def mail_server(
    bag: Mailbag | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    login: bool = False,
) -> AsyncIterator[Mailbag]:
    """A mail server on 127.0.0.1; with `login` it takes mail from USER alone."""
    taken = bag or Mailbag()

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            # It advises against logins without STARTTLS, and does not see the TLS below it.
            warnings.simplefilter("ignore", UserWarning)
            return SMTP(
                taken,
                hostname="mail.example.com",
                tls_context=starttls,
                require_starttls=starttls is not None,
                auth_required=login,
                auth_require_tls=False,
                authenticator=_authenticate if login else None,
                loop=asyncio.get_running_loop(),
            )

    async with _listening(protocol, tls) as port:
        taken.port = port
        yield taken


@contextlib.asynccontextmanager
async def _listening(protocol: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
