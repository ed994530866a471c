"""The ways out, put together from the texts of the settings."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from towerlog.ambient import Clock
from towerlog.egress.addresses import parse_allowed
from towerlog.egress.connections import ReadingTurns
from towerlog.egress.http import Poster
from towerlog.egress.lookups import Lookups, Resolve, resolve_by_system
from towerlog.egress.mail.mailboxes import parse_mail_server
from towerlog.egress.mail.mailer import Mailer
from towerlog.egress.targets import read_url
from towerlog.egress.trust import Trust


class Outside:
    """What reaches the world outside; nothing else in the server does."""

    def __init__(self, poster: Poster, mailer: Mailer | None, to_provider: Poster) -> None:
        """`mailer` is None where the operator has named no mail server. `to_provider`: what goes to the identity
        provider, whose own host is let through by its being named."""
        self.poster = poster
        self.mailer = mailer
        self.to_provider = to_provider


def open_outside(
    clock: Clock,
    *,
    egress_allow: str = "",
    smtp_url: str = "",
    oidc_issuer: str = "",
    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    resolve: Resolve = resolve_by_system,
) -> Outside:
    """The ways out. Raises ValueError naming the setting that is wrong; connects to nothing.

    `trust` makes the contexts of TLS, which say what certificates are trusted: by default what the machine trusts.
    """
    try:
        allowed = parse_allowed(egress_allow)
    except ValueError as error:
        raise ValueError(f"egress_allow: {error}") from None
    try:
        server = parse_mail_server(smtp_url) if smtp_url else None
    except ValueError as error:
        raise ValueError(f"smtp_url: {error}") from None
    try:
        host = read_url(oidc_issuer).name if oidc_issuer else ""
        of_provider = parse_allowed(f"{egress_allow},{host}")
    except ValueError as error:
        raise ValueError(f"oidc_issuer: {error}") from None
    lookups = Lookups(resolve)
    mailer = Mailer(clock, server, Trust(trust), lookups) if server is not None else None
    turns = ReadingTurns()
    to_provider = Poster(clock, of_provider, Trust(trust), lookups, turns)
    return Outside(Poster(clock, allowed, Trust(trust), lookups, turns), mailer, to_provider)
