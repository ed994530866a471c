"""Text mail through the operator's mail server: one message to one address, one connection, one deadline.

Everything that a message says was written by others. `letters` makes the message and `mailboxes` reads the addresses,
so that no text begins a header, a recipient or a command of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from typing import cast

import aiosmtplib

from towerlog.ambient import Clock
from towerlog.egress.connections import first_connected
from towerlog.egress.hosts import Address
from towerlog.egress.lookups import Lookups
from towerlog.egress.mail.letters import composed
from towerlog.egress.mail.mailboxes import BadMailbox, Mailbox, MailSecurity, MailServer, read_mailbox
from towerlog.egress.outcomes import EgressError, EgressFailure, MailAccepted, Undelivered, attempted
from towerlog.egress.places import OrgPlaces
from towerlog.egress.plain import one_line
from towerlog.egress.trust import Trust, what_of_tls

MAIL_SECONDS = 30.0
"""For all of a message, the wait for a place included. Mail servers are slow on purpose (greylisting, tarpits)."""
GOODBYE_SECONDS = 2.0
"""For the end of a conversation after the message was accepted."""
MAX_MAILS = 4
"""At a time."""
MAX_MAILS_PER_ORG = 2
"""At a time, of one organisation: many mails of one hold up nobody else's."""

_MAIL_ID = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)
_MAX_WORDS = 200
_LOST_SECONDS = 0.05
_OPERATOR = ""
"""For whom the mail server is looked up: no organisation."""


class Mailer:
    """The way out for mail. One for a process; used by the thread of its event loop."""

    def __init__(self, clock: Clock, server: MailServer, trust: Trust, lookups: Lookups) -> None:
        """`trust` says which certificates are trusted; what `MailSecurity` says about TLS is never given up."""
        self._clock = clock
        self._server = server
        self._trust = trust
        self._lookups = lookups
        self._places = OrgPlaces(MAX_MAILS, MAX_MAILS_PER_ORG)

    async def send(self, to: str, subject: str, text: str, mail_id: str, *, org_id: str) -> MailAccepted | Undelivered:
        """Sends a message on behalf of an organisation to one address, which may have a name before it.

        `mail_id` (letters, digits, `_`, `-`) is the same in every attempt: a reader's program shows what came twice
        once. Subject and text are cut to the limits of `letters`. Returns within MAIL_SECONDS and raises
        nothing but a cancellation. What the server has accepted counts as sent, however the conversation ends.
        """
        progress = _Progress()

        async def deliver() -> None:
            async with self._places.held(org_id):
                progress.has_place = True
                await self._deliver(to, subject, text, mail_id, progress)

        failed = await attempted(deliver(), self._clock, MAIL_SECONDS, progress.why_slow)
        return MailAccepted(failed.duration_ms) if progress.is_accepted else failed

    async def _deliver(self, to: str, subject: str, text: str, mail_id: str, progress: _Progress) -> None:
        """Raises EgressError, or TimeoutError."""
        try:
            recipient = read_mailbox(to)
        except BadMailbox as error:
            raise EgressError(EgressFailure.REFUSED_HERE, f"the recipient {error}") from None
        if not _MAIL_ID.fullmatch(mail_id):
            raise EgressError(EgressFailure.REFUSED_HERE, "a mail's id has letters, digits, _ and - only")
        sender = self._server.sender
        message = composed(sender, recipient, subject, text, mail_id, self._clock.now_ms())
        tls = await self._trust.context() if self._server.security is not MailSecurity.NONE else None
        connected = await self._connected()
        conversation = asyncio.create_task(self._converse(connected, tls, recipient, message, progress))
        try:
            await asyncio.wait({conversation})
        finally:
            await _ended(conversation)
            if not progress.is_begun:
                connected.close()
        conversation.result()

    async def _converse(
        self,
        connected: socket.socket,
        tls: ssl.SSLContext | None,
        recipient: Mailbox,
        message: bytes,
        progress: _Progress,
    ) -> None:
        """From the greeting to the end; owns the socket. Raises EgressError, or TimeoutError."""
        progress.is_begun, server = True, self._server
        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            sock=connected,
            local_hostname=server.sender.domain,
            timeout=MAIL_SECONDS,
            use_tls=server.security is MailSecurity.TLS,
            start_tls=False,
            tls_context=tls,
        )
        try:
            await _begin(smtp, server)
            with _explained("the mail server refused the message"):
                await smtp.sendmail(server.sender.address, [recipient.address], message)
            progress.is_accepted = True
            # An end without manners changes nothing about that.
            with contextlib.suppress(aiosmtplib.SMTPException):
                await smtp.quit(timeout=GOODBYE_SECONDS)
        finally:
            if smtp.transport is not None:
                # What was not sent yet is for nobody: a server that reads nothing does not keep the socket.
                cast(asyncio.WriteTransport, smtp.transport).abort()
            smtp.close()

    async def _connected(self) -> socket.socket:
        """A connection to one of the addresses of the mail server. Raises EgressError where none takes one."""
        server = self._server
        try:
            addresses: tuple[Address, ...] = (ip_address(server.host),)
        except ValueError:
            addresses = await self._lookups.find(server.host, server.port, _OPERATOR)

        async def to(address: Address) -> socket.socket:
            opened = socket.socket(socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6)
            opened.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(opened, (str(address), server.port))
            except BaseException:
                opened.close()
                raise
            return opened

        return await first_connected(addresses, to, "the mail server cannot be reached")


class _Progress:
    """How far a message has come."""

    def __init__(self) -> None:
        self.has_place = False
        self.is_begun = False
        self.is_accepted = False

    def why_slow(self) -> str:
        """What took all the time."""
        if not self.has_place:
            return f"other mails were being sent for {MAIL_SECONDS:g} seconds; nothing of this one was"
        return f"the mail server took more than {MAIL_SECONDS:g} seconds"


async def _ended(conversation: asyncio.Task[None]) -> None:
    """Cancels it until it has ended: in Python 3.11 `wait_for`, which aiosmtplib uses, can lose a cancellation."""
    while not conversation.done():
        conversation.cancel()
        await asyncio.wait({conversation}, timeout=_LOST_SECONDS)
    if not conversation.cancelled():
        # Looked at here, since nobody else does after a cancellation.
        conversation.exception()


async def _begin(smtp: aiosmtplib.SMTP, server: MailServer) -> None:
    """Greeting, TLS and login. Raises EgressError; TLS that is asked for and not to be had ends the attempt."""
    try:
        with _explained("the mail server does not talk"):
            await smtp.connect()
        if server.security is MailSecurity.STARTTLS:
            with _explained("the mail server offers no STARTTLS", EgressFailure.TLS):
                await smtp.starttls()
        if server.user:
            await _log_in(smtp, server)
    except EgressError as error:
        # None of this depends on the message, so none of it is final.
        if error.failure is EgressFailure.REJECTED:
            raise EgressError(EgressFailure.DEFERRED, error.words) from None
        raise


async def _log_in(smtp: aiosmtplib.SMTP, server: MailServer) -> None:
    """Raises EgressError without the server's words, which may repeat the login."""
    words = "the mail server does not accept the login in TOWERLOG_SMTP_URL"
    with _explained(words, EgressFailure.DEFERRED):
        try:
            await smtp.login(server.user, server.password)
        except aiosmtplib.SMTPResponseException:
            raise EgressError(EgressFailure.DEFERRED, words) from None


@contextlib.contextmanager
def _explained(words: str, otherwise: EgressFailure = EgressFailure.NOT_UNDERSTOOD) -> Iterator[None]:
    """Errors of aiosmtplib as EgressError; `otherwise` for those that say no more than their words."""
    try:
        yield
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _refusal(error.recipients[0], words) from None
    except aiosmtplib.SMTPResponseException as error:
        raise _refusal(error, words) from None
    except TimeoutError:
        raise
    except (aiosmtplib.SMTPException, OSError) as error:
        raise EgressError(*_reason(error, words, otherwise)) from None


def _refusal(error: aiosmtplib.SMTPResponseException, words: str) -> EgressError:
    """By the class of the server's code: 4xx is for now, 5xx for good."""
    failure = EgressFailure.REJECTED if 500 <= error.code < 600 else EgressFailure.DEFERRED
    return EgressError(failure, f"{words}: {error.code} {one_line(error.message, _MAX_WORDS)}")


def _reason(error: Exception, words: str, otherwise: EgressFailure) -> tuple[EgressFailure, str]:
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(cause, ssl.SSLError):
        told = what_of_tls(cause, "the mail server's")
        return EgressFailure.TLS, told or "no TLS connection to the mail server could be made"
    if isinstance(error, aiosmtplib.SMTPServerDisconnected | ConnectionError):
        return EgressFailure.BROKEN_OFF, "the mail server closed the connection"
    return otherwise, words
