"""Addresses of mail and the setting that names the mail server: one form each, and no secret in any message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towerlog.egress.mail.mailboxes import (
    BadMailbox,
    Mailbox,
    MailSecurity,
    MailServer,
    parse_mail_server,
    read_mailbox,
)

SENDER = Mailbox("alerts@example.com")


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("a@example.com", Mailbox("a@example.com")),
        ("First.Last+tag@Example.COM", Mailbox("First.Last+tag@example.com")),
        ("Ada <a@example.com>", Mailbox("a@example.com", "Ada")),
        ('"Lovelace, Ada" <a@example.com>', Mailbox("a@example.com", "Lovelace, Ada")),
        ("Zoë <z@xn--bcher-kva.example>", Mailbox("z@xn--bcher-kva.example", "Zoë")),
        ("root@localhost", Mailbox("root@localhost")),
    ],
)
def test_an_address_and_its_name(text: str, mailbox: Mailbox) -> None:
    assert read_mailbox(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "a@", "@example.com", "a@b@example.com", "a b@example.com", '"a b"@example.com', "a@exa mple.com"),
        *("a@example.com, b@example.com", "a@example.com\nBcc: b@example.com", "a@example.com\r\nDATA", "a@[1.2.3.4]"),
        *(
            "<a@example.com> <b@example.com>",
            "a@example.com>",
            "a<b@example.com>@c.example",
            "a.@example.com",
            "ü@e.de",
        ),
        *(f"{'a' * 65}@example.com", f"a@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 63}.example", "a@1.2.3.4", "a@b..c"),
        *("a@bücher.example", "a@example.com.", "a@-b.example", "..@example.com", "a\x00@example.com"),
        *("<a@example.com>", " <a@example.com>"),
    ],
)
def test_what_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(BadMailbox, match=r"name@example\.com"):
        read_mailbox(text)


@given(st.text(max_size=80))
def test_no_name_leaves_its_line(name: str) -> None:
    try:
        mailbox = read_mailbox(f"{name}<a@example.com>")
    except BadMailbox:
        return
    assert len(f"{mailbox.name}x".splitlines()) == 1
    assert mailbox.address == "a@example.com"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (
            "smtp://mail.example.com?from=alerts@example.com",
            MailServer(MailSecurity.NONE, "mail.example.com", 25, SENDER),
        ),
        (
            "smtps://mail.example.com/?from=alerts@example.com",
            MailServer(MailSecurity.TLS, "mail.example.com", 465, SENDER),
        ),
        (
            "smtp+starttls://u%40x:p%3Aw%2F@Mail.example.com:2525?from=alerts%40example.com",
            MailServer(MailSecurity.STARTTLS, "mail.example.com", 2525, SENDER, "u@x", "p:w/"),
        ),
        ("smtp://127.0.0.1:25?from=alerts@example.com", MailServer(MailSecurity.NONE, "127.0.0.1", 25, SENDER)),
        ("smtp://[::1]:25?from=alerts@example.com", MailServer(MailSecurity.NONE, "::1", 25, SENDER)),
        ("smtp://mail?from=alerts@example.com", MailServer(MailSecurity.NONE, "mail", 25, SENDER)),
        (
            "smtp+starttls://mail?from=Towerlog%20%3Calerts+x@example.com%3E",
            MailServer(MailSecurity.STARTTLS, "mail", 587, Mailbox("alerts+x@example.com", "Towerlog")),
        ),
    ],
)
def test_the_mail_server_is_named_by_a_url(url: str, server: MailServer) -> None:
    assert parse_mail_server(url) == server


SECRET = "hunter2secret"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mail.example.com", "must be smtp://, smtps:// or smtp+starttls://"),
        (f"https://u:{SECRET}@mail.example.com?from=a@example.com", "must be smtp://"),
        (f"smtp://u:{SECRET}@mail@example.com?from=a@example.com", "must be smtp://"),
        (f"smtp://u:{SECRET}/x@mail.example.com?from=a@example.com", "must be smtp://"),
        (f"smtp://{SECRET}@mail.example.com?from=a@example.com", "must be USER:PASSWORD"),
        (f"smtp://:{SECRET}@mail.example.com?from=a@example.com", "must be USER:PASSWORD"),
        (f"smtp://u:{SECRET}%zz@mail.example.com?from=a@example.com", "must be USER:PASSWORD"),
        (f"smtp://u:{SECRET}%ff@mail.example.com?from=a@example.com", "percent-encoded UTF-8"),
        (f"smtp://u:{SECRET}%0d%0aNOOP@mail.example.com?from=a@example.com", "control characters"),
        (f"smtp://u:{SECRET}@mail.example.com", "must end in ?from=ADDRESS"),
        (f"smtp://u:{SECRET}@mail.example.com?to=a@example.com", "must end in ?from=ADDRESS"),
        (f"smtp://u:{SECRET}@mail.example.com?from=a@example.com&x=1", "must end in ?from=ADDRESS"),
        (f"smtp://u:{SECRET}@mail.example.com?from=nobody", "from is no address of mail"),
        (f"smtp://u:{SECRET}@mail.example.com:0?from=a@example.com", "the port must be"),
        (f"smtp://u:{SECRET}@mail.example.com:65536?from=a@example.com", "the port must be"),
        (f"smtp://u:{SECRET}@?from=a@example.com", "the host is missing"),
        (f"smtp://u:{SECRET}@127.1?from=a@example.com", "no IPv4 address"),
        (f"smtp://u:{SECRET}@bücher.example?from=a@example.com", "xn--"),
    ],
)
def test_a_wrong_url_is_refused_in_words_that_do_not_repeat_it(url: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_mail_server(url)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_mail_server_does_not_show_its_password() -> None:
    server = parse_mail_server(f"smtps://user:{SECRET}@mail.example.com?from=alerts@example.com")
    assert server.password == SECRET
    assert SECRET not in f"{server!r} {server}"
