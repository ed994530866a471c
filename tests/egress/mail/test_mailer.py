"""Mail through real servers: what arrives, TLS and logins, refusals, deadlines, and texts that break out of nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import pytest
import trustme

import towerlog.egress.mail.mailer
from tests.egress.certificates import long_ago, serving, trusted
from tests.egress.mail.mail_servers import PASSWORD, USER, Mailbag, mail_server
from tests.egress.receivers import ORG, Answer, Connection, answer_of, outside, receiving, resolving, silent
from tests.support.tables import table
from tests.support.wait import wait_until_async
from towerlog.egress.mail.mailer import MAIL_SECONDS, MAX_MAILS, MAX_MAILS_PER_ORG, Mailer
from towerlog.egress.outcomes import EgressFailure, MailAccepted, Undelivered

NAME = "mail.hooks-tests.net"
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"
FROM = "from=Towerlog%20%3Calerts@example.com%3E"


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The server runs on uvloop, whose connections are others than asyncio's."""
    return "asyncio", {"use_uvloop": request.param}


def mailer(port: int, scheme: str = "smtp", host: str = "127.0.0.1", login: str = "", **settings: Any) -> Mailer:
    url = f"{scheme}://{login}{host}:{port}?{FROM}"
    found = outside(resolving({NAME: ["127.0.0.1"]}), trust=trusted, smtp_url=url, **settings).mailer
    assert found is not None
    return found


async def send(by: Mailer, **changed: str) -> MailAccepted | Undelivered:
    given_ = {"to": "ada@example.net", "subject": "Budget", "text": "80 % is spent.", "mail_id": "del_1", "org_id": ORG}
    return await by.send(**{**given_, **changed})


def failure_of(outcome: MailAccepted | Undelivered) -> EgressFailure:
    assert isinstance(outcome, Undelivered), outcome
    assert outcome.words.isprintable()
    assert PASSWORD not in outcome.words
    return outcome.failure


async def test_a_mail_arrives_as_it_was_written() -> None:
    async with mail_server() as bag:
        text = "Zeile 1: größer\n.\n..zwei Punkte\nFrom here on\n" + "x" * 2000 + "\n"
        outcome = await send(mailer(bag.port), to="Zoë Ünal <zoe@example.net>", subject="Budget: 80 % – ü", text=text)
    assert isinstance(outcome, MailAccepted), outcome
    [envelope], [message] = bag.envelopes, bag.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == ("alerts@example.com", ["zoe@example.net"])
    assert message["From"] == "Towerlog <alerts@example.com>"
    assert message["To"].addresses[0].display_name == "Zoë Ünal"
    assert message["Subject"] == "Budget: 80 % – ü"
    assert message["Message-ID"] == "<del_1@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(message["Date"]).tzinfo is not None
    assert message.get_content_type() == "text/plain"
    assert message.get_content().replace("\r\n", "\n") == text
    assert bag.sessions[0].host_name == "example.com"


async def test_the_mail_server_may_be_anywhere_since_the_operator_chose_it() -> None:
    async with mail_server() as bag:
        found = mailer(bag.port, host=NAME, egress_allow="")
        assert isinstance(await send(found), MailAccepted)


@table("host", ["127.0.0.1", NAME])
@table("scheme", ["smtps", "smtp+starttls"])
async def test_over_tls_with_a_login(scheme: str, host: str) -> None:
    context = serving(host)
    tls = {"tls": context} if scheme == "smtps" else {"starttls": context}
    async with mail_server(login=True, **tls) as bag:
        assert isinstance(await send(mailer(bag.port, scheme, host, LOGIN)), MailAccepted)
        assert bag.sessions[0].authenticated
        assert bag.sessions[0].ssl is not None or scheme == "smtps"


async def test_mail_does_not_say_that_it_is_http() -> None:
    web, mail = serving("127.0.0.1"), serving("127.0.0.1")
    mail.set_alpn_protocols(["http/1.1", "smtp"])
    async with receiving(tls=web) as receiver, mail_server(tls=mail) as bag:
        url = f"smtps://127.0.0.1:{bag.port}?{FROM}"
        ways = outside(trust=trusted, smtp_url=url)
        answer_of(await ways.poster.post(f"https://127.0.0.1:{receiver.port}/", b"", {}, org_id=ORG))
        assert ways.mailer is not None
        assert isinstance(await send(ways.mailer), MailAccepted)
        assert bag.protocols == [None]


async def test_without_tls_with_a_login() -> None:
    async with mail_server(login=True) as bag:
        assert isinstance(await send(mailer(bag.port, login=LOGIN)), MailAccepted)


@table("login", ["", "towerlog%40example.com:wrong@"])
async def test_without_the_right_login_nothing_is_sent_and_later_it_may_be(login: str) -> None:
    async with mail_server(login=True) as bag:
        outcome = await send(mailer(bag.port, login=login))
        assert isinstance(outcome, Undelivered)
        assert bag.envelopes == []
        if login:
            assert (outcome.failure, outcome.is_final) == (EgressFailure.DEFERRED, False)
            assert "TOWERLOG_SMTP_URL" in outcome.words


@table("scheme", ["smtps", "smtp+starttls"])
@table("fault", ["another name", "expired", "unknown"])
async def test_a_certificate_that_is_not_the_mail_servers_ends_it(scheme: str, fault: str) -> None:
    context = serving(
        "other.example.net" if fault == "another name" else NAME,
        ca=trustme.CA() if fault == "unknown" else None,
        not_after=long_ago() if fault == "expired" else None,
    )
    tls = {"tls": context} if scheme == "smtps" else {"starttls": context}
    async with mail_server(**tls) as bag:
        outcome = await send(mailer(bag.port, scheme, NAME, LOGIN))
        assert failure_of(outcome) is EgressFailure.TLS
        assert isinstance(outcome, Undelivered)
        assert "certificate is not accepted" in outcome.words
        assert bag.envelopes == []


async def test_starttls_that_is_not_offered_ends_it_before_the_password() -> None:
    async with mail_server(login=True) as bag:
        outcome = await send(mailer(bag.port, "smtp+starttls", NAME, LOGIN))
        assert failure_of(outcome) is EgressFailure.TLS
        assert bag.envelopes == []


async def test_tls_that_is_not_there_ends_it() -> None:
    async with mail_server() as bag:
        assert failure_of(await send(mailer(bag.port, "smtps", NAME, LOGIN))) is EgressFailure.TLS


@table("at", ["RCPT", "DATA"])
@table(
    "said, failure, is_final",
    [("550 5.1.1 no such user", EgressFailure.REJECTED, True), ("451 4.7.1 greylisted", EgressFailure.DEFERRED, False)],
)
async def test_a_refusal_is_told_in_the_servers_words(
    at: str, said: str, failure: EgressFailure, is_final: bool
) -> None:
    async with mail_server(Mailbag({at: said})) as bag:
        outcome = await send(mailer(bag.port))
        assert failure_of(outcome) is failure
        assert isinstance(outcome, Undelivered)
        assert outcome.is_final is is_final
        assert said.partition(" ")[0] in outcome.words
        assert said.rpartition(" ")[2] in outcome.words


@table(
    "changed",
    [
        {"to": "a@example.com, b@example.com"},
        {"to": "a@example.com\r\nRCPT TO:<b@example.com>"},
        {"to": "a@example.com> SIZE=1"},
        {"mail_id": "a@b"},
        {"mail_id": "a\r\nX: y"},
        {"mail_id": ""},
    ],
)
async def test_what_cannot_be_sent_is_refused_before_the_server_is_asked(changed: dict[str, str]) -> None:
    async with receiving(silent) as server:
        outcome = await send(mailer(server.port), **changed)
        assert failure_of(outcome) is EgressFailure.REFUSED_HERE
        assert server.count == 0


# Servers that do not behave.


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline is the same mechanism at any length."""
    assert MAIL_SECONDS == 30
    monkeypatch.setattr(towerlog.egress.mail.mailer, "MAIL_SECONDS", 0.5)


def talking(*parts: bytes, then_stay: bool = True) -> Answer:
    """Says one thing after each line that comes, then nothing more."""

    async def answer(connection: Connection) -> None:
        await connection.say(parts[0])
        for part in parts[1:]:
            await connection.reader.readline()
            await connection.say(part)
        if then_stay:
            await connection.reader.read()

    return answer


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"220 ",),
        (b"220 hello\r\n", b""),
        (b"220 hello\r\n", b"250 hi\r\n", b""),
        (b"220 hello\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b""),
    ],
    ids=["nothing", "half-a-greeting", "no-ehlo", "no-mail", "no-data"],
)
async def test_a_server_that_stops_talking_ends_at_the_deadline(parts: Sequence[bytes]) -> None:
    async with receiving(talking(*parts)) as server:
        assert failure_of(await send(mailer(server.port))) is EgressFailure.TOO_SLOW
        await asyncio.wait_for(server.ended.wait(), 60)


@pytest.mark.parametrize(
    ("parts", "failures"),
    [
        ((b"",), {EgressFailure.BROKEN_OFF}),
        ((b"220 hello\r\n", b"250 hi\r\n"), {EgressFailure.BROKEN_OFF}),
        ((b"HTTP/1.1 400 Bad\r\n\r\n",), {EgressFailure.NOT_UNDERSTOOD, EgressFailure.DEFERRED}),
        ((b"554 go away\r\n",), {EgressFailure.DEFERRED}),
        ((b"421 busy\r\n",), {EgressFailure.DEFERRED}),
        ((b"x" * 100_000,), {EgressFailure.NOT_UNDERSTOOD, EgressFailure.DEFERRED, EgressFailure.BROKEN_OFF}),
        ((b"220 hi\r\n", b"250-a\r\n" * 20_000), {EgressFailure.NOT_UNDERSTOOD, EgressFailure.DEFERRED}),
    ],
    ids=["closed", "closed-later", "http", "greets-with-554", "greets-with-421", "endless-line", "endless-reply"],
)
async def test_a_server_that_does_not_talk_smtp(parts: Sequence[bytes], failures: set[EgressFailure]) -> None:
    async with receiving(talking(*parts, then_stay=False)) as server:
        outcome = await send(mailer(server.port))
        assert failure_of(outcome) in failures
        assert isinstance(outcome, Undelivered)
        assert not outcome.is_final


async def test_nobody_there_is_said(held_port) -> None:
    assert failure_of(await send(mailer(held_port.number))) is EgressFailure.NOT_CONNECTED
    assert failure_of(await send(mailer(25, host="nobody.example.net"))) is EgressFailure.NOT_FOUND


async def test_what_was_accepted_is_sent_however_the_conversation_ends() -> None:
    async def rude(connection: Connection) -> None:
        await connection.say(b"220 hello\r\n")
        for said in (b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"):
            await connection.reader.readline()
            await connection.say(said)
        await connection.reader.readuntil(b"\r\n.\r\n")
        await connection.say(b"250 kept\r\n")

    async with receiving(rude) as server:
        assert isinstance(await send(mailer(server.port)), MailAccepted)


async def test_few_are_sent_at_a_time() -> None:
    async with receiving(silent) as server, mail_server() as bag:
        found = mailer(server.port)
        # Of each organisation as many as there are places for the two of them.
        mails = [{"mail_id": f"m{n}", "org_id": f"org {n % 2}"} for n in range(2 * MAX_MAILS)]
        tasks = [asyncio.create_task(send(found, **mail)) for mail in mails]
        await wait_until_async(lambda: server.count == MAX_MAILS, "the conversations")
        # Time for a whole conversation with another server passes, and none of the others begins.
        assert isinstance(await send(mailer(bag.port)), MailAccepted)
        assert server.count == MAX_MAILS
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.usefixtures("impatient")
async def test_who_waits_for_a_place_waits_within_the_deadline() -> None:
    async with receiving(silent) as server:
        found = mailer(server.port)
        outcomes = await asyncio.gather(*(send(found, mail_id=f"m{n}") for n in range(MAX_MAILS_PER_ORG + 3)))
        assert {failure_of(outcome) for outcome in outcomes} == {EgressFailure.TOO_SLOW}


async def test_of_a_mail_that_had_no_place_nothing_is_said_of_the_mail_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(silent) as server:
        found = mailer(server.port)
        tasks = [asyncio.create_task(send(found, mail_id=f"m{n}")) for n in range(MAX_MAILS_PER_ORG)]
        await wait_until_async(lambda: server.count == MAX_MAILS_PER_ORG, "the conversations")
        monkeypatch.setattr(towerlog.egress.mail.mailer, "MAIL_SECONDS", 0.2)
        outcome = await send(found)
        assert failure_of(outcome) is EgressFailure.TOO_SLOW
        assert isinstance(outcome, Undelivered)
        assert outcome.words.startswith("other mails were being sent")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_mails_of_one_organisation_hold_up_nobody_elses() -> None:
    async with receiving(silent) as server, mail_server() as bag:
        found = mailer(server.port)
        tasks = [asyncio.create_task(send(found, mail_id=f"m{n}")) for n in range(200)]
        await wait_until_async(lambda: server.count == MAX_MAILS_PER_ORG, "the conversations")
        tasks.append(asyncio.create_task(send(found, org_id="another")))
        await wait_until_async(lambda: server.count == MAX_MAILS_PER_ORG + 1, "that of the other organisation")
        # Time for a whole conversation with another server passes, and none of the others begins.
        assert isinstance(await send(mailer(bag.port)), MailAccepted)
        assert server.count == MAX_MAILS_PER_ORG + 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_cancelled_mail_closes_its_connection() -> None:
    async with receiving(silent) as server:
        task = asyncio.create_task(send(mailer(server.port)))
        await wait_until_async(lambda: server.count, "the connection")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.ended.wait(), 60)
