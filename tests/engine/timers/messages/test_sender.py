"""The sender: each message arrives under its own id, however often that fails; nobody waits for a dead receiver."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.egress.mail.mail_servers import Mailbag, mail_server
from tests.egress.receivers import OK, Connection, Receiver, outside, receiving, saying, silent
from tests.engine.alerts.alerting import alerts, deliveries, failure, make
from tests.support.rig import Rig, open_rig
from tests.support.wait import wait_until_async
from towerlog.ambient import SystemClock, SystemIds
from towerlog.egress.notices.webhooks import MAX_SECRETS
from towerlog.egress.outside import Outside
from towerlog.engine.timers.messages import sender as sending
from towerlog.engine.timers.messages.outbox import MAX_OF_ORGANISATION, MAX_OF_RECEIVER
from towerlog.engine.timers.messages.sender import Sender
from towerlog.errors import Conflict
from towerlog.model.alert import AlertTrigger, ChangeRule, DeleteRule
from towerlog.model.alert_channel import AlertChannel, ChannelSecret, ChannelType
from towerlog.model.command import Append
from towerlog.model.delivery import MAX_WAIT_MS, Delivery, DeliveryState, Redeliver, RedeliverFrom

AT_ONCE = (0, 0, 0)
UNAVAILABLE = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig by the real clock: signatures are held against it."""
    clock: Any = SystemClock()
    ids: Any = SystemIds(clock)
    async with open_rig(tmp_path, clock=clock, ids=ids) as rig:
        yield rig


@contextlib.asynccontextmanager
async def sending_from(rig: Rig, ways_out: Outside | None = None, pauses: tuple[int, ...] = AT_ONCE) -> Any:
    """A sender at work."""
    sender = Sender(rig.store, rig.engine._writer.upkeep, rig.clock, ways_out or outside(), pauses)
    rig.engine.wake.subscribe(sender.hear)
    task = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        sender.stop()
        await task


async def settled(rig: Rig, count: int) -> list[Delivery]:
    """So many deliveries, none of which waits any more."""

    async def found() -> list[Delivery] | None:
        rows = await deliveries(rig)
        done = [one for one in rows if one.state is not DeliveryState.PENDING]
        return rows if len(done) == count else None

    rows: list[Delivery] = await wait_until_async(found, f"{count} deliveries that are done")
    return rows


def hook(receiver: Receiver, path: str = "/hook") -> AlertChannel:
    return AlertChannel(ChannelType.WEBHOOK, f"http://127.0.0.1:{receiver.port}{path}")


def failing_first(times: int) -> Callable[[Connection], Any]:
    """Fails so often, each time in another way, then takes what comes."""
    count = 0

    async def answer(connection: Connection) -> None:
        nonlocal count
        await connection.read_request()
        count += 1
        if count > times:
            await connection.say(OK)
        elif count % 3 == 0:
            await connection.say(UNAVAILABLE)
        elif count % 3 == 1:
            await connection.say(b"what?\r\n\r\n")

    return answer


async def test_what_arrives_is_signed_and_has_one_id_in_all_attempts(live: Rig) -> None:
    async with receiving(failing_first(3)) as receiver, sending_from(live):
        rule = await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        await live.append(failure("a"))
        [row] = await settled(live, 1)
        assert row.state is DeliveryState.DELIVERED
        assert [one.status for one in row.attempts] == [None, None, 503, 200]
        came = receiver.connections
        assert {one.headers["webhook-id"] for one in came} == {row.message_id}
        secret = rule.channels[0].secrets[0].text
        said = [Webhook(secret).verify(one.body, one.headers) for one in came]
        [alert] = await alerts(live)
        assert {one["alert_id"] for one in said} == {alert.alert_id}


async def test_a_secret_that_leaked_signs_no_message_once_it_is_replaced(live: Rig) -> None:
    """Not even one that was on its way then: what signs it is read when it is sent."""
    async with receiving(saying(OK)) as receiver:
        rule = await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        await live.append(failure("a"))
        [row] = await deliveries(live)
        assert row.channel.secrets == ()
        letters = "ABCDEFGHIJKL"[:MAX_SECRETS]
        for letter in letters:
            new = msgspec.structs.replace(hook(receiver), secrets=(ChannelSecret("whsec_" + letter * 40),))
            await live.do(ChangeRule(rule.rule_id, channels=(new,)))
        async with sending_from(live):
            await settled(live, 1)
        [came] = receiver.connections
        Webhook("whsec_" + letters[-1] * 40).verify(came.body, came.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(rule.channels[0].secrets[0].text).verify(came.body, came.headers)


async def test_what_nothing_signs_any_more_is_given_up(live: Rig) -> None:
    async with receiving(saying(OK)) as receiver:
        rule = await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        await live.append(failure("a"))
        await live.do(DeleteRule(rule.rule_id))
        async with sending_from(live) as sender:
            [row] = await settled(live, 1)
            await wait_until_async(lambda: sender.given_up == 1, "the count of what was given up")
        assert (row.state, "nothing to sign it with" in row.attempts[-1].words) == (DeliveryState.FAILED, True)
        assert receiver.connections == []


async def test_what_is_never_taken_is_given_up_and_can_be_sent_anew(live: Rig) -> None:
    taken = False

    async def answer(connection: Connection) -> None:
        await connection.read_request()
        await connection.say(OK if taken else UNAVAILABLE)

    async with receiving(answer) as receiver, sending_from(live):
        await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        await live.append(failure("a"))
        [row] = await settled(live, 1)
        assert (row.state, len(row.attempts)) == (DeliveryState.FAILED, 4)
        assert row.attempts[0].words == "answered with 503"
        taken = True
        assert (await live.do(Redeliver(row.delivery_id))).row.state is DeliveryState.PENDING
        [row] = await settled(live, 1)
        assert (row.state, len(row.attempts)) == (DeliveryState.DELIVERED, 5)
        assert len({one.headers["webhook-id"] for one in receiver.connections}) == 1


async def test_a_cursor_sends_all_anew_that_were_given_up(live: Rig) -> None:
    async with receiving(saying(UNAVAILABLE)) as receiver, sending_from(live, pauses=(0,)):
        await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        await live.append(*[failure(f"r{number}") for number in range(5)])
        await settled(live, 5)
    first = await live.do(RedeliverFrom(0, 3))
    assert (first.count, first.next) == (3, 3)
    second = await live.do(RedeliverFrom(first.next, 3))
    assert (second.count, second.next) == (2, None)
    assert {one.state for one in await deliveries(live)} == {DeliveryState.PENDING}


async def test_what_is_sent_anew_by_several_at_once_waits_once(live: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the count of what waits would grow with each of them, and messages would be given up for want of room."""
    async with receiving(saying(UNAVAILABLE)) as receiver, sending_from(live, pauses=(0,)):
        await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        await live.append(*[failure(f"r{number}") for number in range(5)])
        await settled(live, 5)
    monkeypatch.setattr("towerlog.engine.plan.alerts.MAX_PENDING_DELIVERIES", 7)
    await asyncio.gather(*[live.do(RedeliverFrom(0, 10)) for _ in range(5)])
    await live.append(failure("one more"))
    assert [one.state for one in await deliveries(live)] == [DeliveryState.PENDING] * 6


@pytest.mark.parametrize("status", [b"410 Gone", b"302 Found"])
async def test_a_receiver_that_is_gone_is_not_asked_again(live: Rig, status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b"\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    async with receiving(saying(head)) as receiver, sending_from(live, pauses=(0,)):
        await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        await live.append(failure("a"))
        [row] = await settled(live, 1)
        assert (row.state, receiver.count) == (DeliveryState.FAILED, 1 if status.startswith(b"410") else 2)


async def test_a_forbidden_address_gets_nothing(live: Rig) -> None:
    async with receiving() as receiver, sending_from(live, outside(egress_allow="")):
        await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        await live.append(failure("a"))
        [row] = await settled(live, 1)
        assert (row.state, receiver.count) == (DeliveryState.FAILED, 0)
        assert "not allowed" in row.attempts[-1].words


async def test_a_dead_receiver_delays_no_other(live: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the dead one's is answered before all of the others' has arrived: it is never answered."""
    monkeypatch.setattr("towerlog.egress.http.POST_SECONDS", 600)
    async with receiving(silent) as dead, receiving() as well, sending_from(live):
        await make(live, AlertTrigger.ERROR, channels=(hook(dead), hook(well)))
        await live.append(*[failure(f"r{number}") for number in range(40)])
        await wait_until_async(lambda: well.count == 40, "all that goes to the other receiver")
        assert dead.count <= MAX_OF_RECEIVER


async def test_an_organisation_with_dead_receivers_delays_no_other(live: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towerlog.egress.http.POST_SECONDS", 600)
    other = await live.make_org("other")
    async with receiving(silent, host="::") as dead, receiving() as well, sending_from(live):
        # As many receivers as the organisation could have places for many times over.
        for number in range(20):
            targets = [f"http://127.0.{number}.{part}:{dead.port}/" for part in range(1, 6)]
            channels = tuple(AlertChannel(ChannelType.WEBHOOK, target) for target in targets)
            await make(live, AlertTrigger.ERROR, channels=channels)
        # Several to each receiver, all of which are due at once.
        await live.append(*[failure(name) for name in "abc"])
        await wait_until_async(lambda: dead.count == MAX_OF_ORGANISATION, "the share of one organisation")
        rig, live.principal = live.principal, other
        await make(live, AlertTrigger.ERROR, channels=(hook(well),))
        await live.do(Append("steps", [failure("a")]))
        live.principal = rig
        await wait_until_async(lambda: well.count == 1, "the other organisation's message")
        assert dead.count == MAX_OF_ORGANISATION


async def test_what_is_under_way_at_the_end_is_due_again_under_its_id(live: Rig) -> None:
    async with receiving(silent) as receiver:
        await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        async with sending_from(live):
            await live.append(failure("a"))
            await wait_until_async(lambda: receiver.count == 1, "the first attempt")
        [row] = await deliveries(live)
        assert (row.state, row.attempts) == (DeliveryState.PENDING, ())
    async with receiving(port=receiver.port) as again, sending_from(live):
        [row] = await settled(live, 1)
        assert row.state is DeliveryState.DELIVERED
        assert again.connections[0].headers["webhook-id"] == row.message_id


async def test_mail_goes_to_the_operators_server_and_chats_get_their_shapes(live: Rig) -> None:
    bag = Mailbag()
    async with mail_server(bag), receiving() as receiver:
        ways_out = outside(smtp_url=f"smtp://127.0.0.1:{bag.port}?from=alerts@example.com")
        target = f"http://127.0.0.1:{receiver.port}"
        chats = [
            AlertChannel(kind, f"{target}/{kind}")
            for kind in (ChannelType.SLACK, ChannelType.DISCORD, ChannelType.TEAMS)
        ]
        mail = AlertChannel(ChannelType.EMAIL, "Ada <ada@example.com>")
        async with sending_from(live, ways_out):
            await make(live, AlertTrigger.ERROR, channels=(mail, *chats))
            await live.append(failure("a"))
            rows = await settled(live, 4)
        assert {one.state for one in rows} == {DeliveryState.DELIVERED}
        [message] = bag.messages
        assert message["Subject"] == "[Towerlog] Alert: on error"
        assert "A run of agent 'writer' has failed: no paper" in message.get_content()
        shapes = {one.request.split(b" ")[1]: one.body for one in receiver.connections}
        assert b'"blocks"' in shapes[b"/slack"]
        assert b'"embeds"' in shapes[b"/discord"]
        assert b"AdaptiveCard" in shapes[b"/teams"]


async def test_without_a_mail_server_mail_is_given_up_at_once(live: Rig) -> None:
    async with sending_from(live):
        await make(live, AlertTrigger.ERROR, channels=(AlertChannel(ChannelType.EMAIL, "ada@example.com"),))
        await live.append(failure("a"))
        [row] = await settled(live, 1)
        assert (row.state, row.attempts[0].words) == (DeliveryState.FAILED, sending.NO_MAIL)


async def test_while_a_secret_changes_both_sign(live: Rig) -> None:
    async with receiving() as receiver, sending_from(live):
        rule = await make(live, AlertTrigger.ERROR, channels=(hook(receiver),))
        old, new = rule.channels[0].secrets[0].text, "whsec_" + "A" * 40
        asked = AlertChannel(ChannelType.WEBHOOK, rule.channels[0].target, (ChannelSecret(new),))
        changed = (await live.do(ChangeRule(rule.rule_id, channels=(asked,)))).rule
        assert [one.text for one in changed.channels[0].secrets] == [new, old]
        await live.append(failure("a"))
        await settled(live, 1)
        [came] = receiver.connections
        for secret in (old, new):
            Webhook(secret).verify(came.body, came.headers)


async def test_what_nobody_receives_is_not_sent_anew(live: Rig) -> None:
    await make(live, AlertTrigger.ERROR, channels=(AlertChannel(ChannelType.IN_APP),))
    await live.append(failure("a"))
    [row] = await deliveries(live)
    with pytest.raises(Conflict):
        await live.do(Redeliver(row.delivery_id))
    assert (await live.do(RedeliverFrom(0, 10, state=None))).count == 0


async def test_pauses_are_kept_by_the_wall_clock_also_over_a_restart(rig: Rig) -> None:
    """Until the pause is over nothing is due; and a clock that was set back does not make it longer than it is."""
    async with receiving(saying(UNAVAILABLE)) as receiver:
        await make(rig, AlertTrigger.ERROR, channels=(hook(receiver),))
        await rig.append(failure("a"))
        sender = Sender(rig.store, rig.engine._writer.upkeep, rig.clock, outside(), (10, 60))
        for waits_ms in (0, 10_000, 60_000):
            [row] = await deliveries(rig)
            assert row.due_at is not None
            assert row.due_at >= rig.clock.now_ms() + waits_ms
            if waits_ms:
                rig.clock.advance(row.due_at - rig.clock.now_ms() - 1)
                sender.look_again()
                await sender._turn()
                assert sender._under_way == {}
                rig.clock.advance(1)
            sender.look_again()
            await sender._turn()
            await wait_until_async(lambda: bool(sender._done), "the attempt")
            await sender._turn()
        assert receiver.count == 3
        [row] = await deliveries(rig)
        assert row.state is DeliveryState.FAILED
        await rig.do(Redeliver(row.delivery_id))
        rig.clock.jump(-2 * MAX_WAIT_MS)
        sender.look_again()
        await sender._turn()
        assert len(sender._under_way) == 1


@pytest.mark.parametrize(("said", "waits_ms"), [(b"90", 90_000), (b"3", 10_000), (b"99999999999", MAX_WAIT_MS)])
async def test_a_receiver_that_asks_for_time_gets_it_within_bounds(rig: Rig, said: bytes, waits_ms: int) -> None:
    """Chat services answer 429 with it. There are no more attempts for it, and none comes before its time."""
    busy = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % said
    async with receiving(saying(busy)) as receiver:
        await make(rig, AlertTrigger.ERROR, channels=(hook(receiver),))
        await rig.append(failure("a"))
        sender = Sender(rig.store, rig.engine._writer.upkeep, rig.clock, outside(), (10,))
        for attempt in (1, 2):
            sender.look_again()
            await sender._turn()
            await wait_until_async(lambda: bool(sender._done), "the attempt")
            await sender._turn()
            [row] = await deliveries(rig)
            if attempt == 1:
                assert row.due_at is not None
                assert waits_ms <= row.due_at - rig.clock.now_ms() <= waits_ms + row.attempts[-1].duration_ms
                rig.clock.advance(row.due_at - rig.clock.now_ms())
        assert (row.state, receiver.count) == (DeliveryState.FAILED, 2)
