"""Both ways out are made from the settings' texts; a wrong one is told by the setting's name."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from towerlog.ambient import SystemClock
from towerlog.egress.outside import open_outside
from towerlog.egress.trust import Trust


def test_without_a_mail_server_there_is_no_mail() -> None:
    assert open_outside(SystemClock()).mailer is None
    assert open_outside(SystemClock(), smtp_url="smtp://mail.example.com?from=a@example.com").mailer is not None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"egress_allow": "10.0.0.1/8"}, "egress_allow: '10.0.0.1/8' is an address inside of a network"),
        ({"smtp_url": "mail.example.com"}, "smtp_url: must be smtp://"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        open_outside(SystemClock(), **settings)
    assert str(caught.value).startswith(words)


async def test_certificates_are_read_once_and_beside_the_loop() -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        made.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return made[-1]

    trust = Trust(make)
    found = await asyncio.gather(*(trust.context() for _ in range(5)), trust.context())
    assert len(made) == 1
    assert {id(one) for one in found} == {id(made[0])}


async def test_certificates_that_could_not_be_read_are_read_again() -> None:
    answers: list[OSError | ssl.SSLContext] = [OSError("gone"), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)]

    def make() -> ssl.SSLContext:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    trust = Trust(make)
    with pytest.raises(OSError, match="gone"):
        await trust.context()
    assert isinstance(await trust.context(), ssl.SSLContext)


async def test_what_is_trusted_by_default_checks_the_host() -> None:
    context = await Trust().context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
