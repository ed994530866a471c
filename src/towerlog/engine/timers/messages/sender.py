"""Sends what waits in the outbox: a task beside the timer, since what is outside of this server may be slow.

The outbox alone says what is to be sent. What is under way is known to this process only, so after a kill it is due
again, under the same id. One receiver has a few places and one organisation a share of all, so neither a dead receiver
nor an organisation with many of them delays what others are sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog

from towerlog.ambient import Clock
from towerlog.egress.notices.chat import CHAT_BODIES
from towerlog.egress.notices.webhooks import signed_headers
from towerlog.egress.outcomes import EgressFailure, HttpAnswer, MailAccepted, Undelivered
from towerlog.engine.alerts.messages import mail_of, notice_of, with_links
from towerlog.engine.alerts.ways_out import NO_MAIL, WaysOut
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.engine.settings import DEFAULT_PAUSES
from towerlog.engine.timers.loop import Upkeep
from towerlog.engine.timers.messages.fan_out import FanOut
from towerlog.engine.timers.messages.outbox import MAX_UNDER_WAY, Key, Outbox
from towerlog.errors import Overloaded, StorageFailed
from towerlog.model.alert_channel import ChannelType
from towerlog.model.answer_link import LinkAddress
from towerlog.model.delivery import (
    ERASED_BODY,
    MAX_WAIT_MS,
    Attempt,
    Delivery,
    DeliveryState,
    RecordAttempt,
    after_attempt,
    is_given_up,
)
from towerlog.store.base import Store, Unit
from towerlog.store.values import Kind
from towerlog.wake.base import Commit

LOOK_SECONDS = 1.0
"""How long until the sender looks again for what is due, if nothing tells it before."""
RECORDED_AT_ONCE = 100
"""Attempts that one commit notes."""
_GONE = 410
"""The status by which a receiver says that nobody will ever take messages there again."""
_NOT_SIGNED = "its rule does not tell this webhook any more, so there is nothing to sign it with"
_ERASED = "what it told of was erased"
_JSON: Mapping[str, str] = {"Content-Type": "application/json"}

log = structlog.get_logger("towerlog.alerts")


class Sender:
    """One for each engine."""

    def __init__(
        self,
        store: Store,
        upkeep: Upkeep,
        clock: Clock,
        ways_out: WaysOut,
        pauses: tuple[int, ...] = DEFAULT_PAUSES,
        links: LinkAddress | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        """`upkeep` commits between two groups. `pauses`: seconds before each further attempt. `links`: where answer
        links lead; without, no message has one. `may_send`: whether it is this node that sends."""
        self._links = links
        self._may_send = may_send
        self._store = store
        self._fan_out = FanOut(store, upkeep)
        self._outbox = Outbox(store)
        self._upkeep = upkeep
        self._clock = clock
        self._ways_out = ways_out
        self._pauses = pauses
        self._horizon_ms = max(2 * 1000 * max(pauses), MAX_WAIT_MS)
        self._under_way: dict[Key, Delivery] = {}
        """Until what came of them is stored."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[RecordAttempt] = []
        self._news = asyncio.Event()
        self._fans_out = True
        """Some delivery may be unwritten."""
        self._looks = True
        """Something may be due that can be begun."""
        self._is_more = False
        """Something is due, and can be begun when something else is done."""
        self._stopping = False
        self.given_up = 0
        """Messages that are not attempted any more, since the start."""

    def hear(self, commit: Commit) -> None:
        """A commit has put something into the outbox."""
        self._outbox.hear(commit.messages_of)
        self._looks = self._fans_out = True
        self._news.set()

    async def run(self) -> None:
        """Sends until it is stopped; then what is under way is left to the next start."""
        try:
            while not self._stopping:
                self._news.clear()
                await self._guarded(self._turn)
                try:
                    await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)
                except TimeoutError:
                    self.look_again()
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._guarded(self._record)

    def look_again(self) -> None:
        """Time has passed: something may be due by now."""
        self._looks = self._fans_out = True

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping = True
        self._news.set()

    async def _turn(self) -> None:
        """Notes what has come back, writes some of what is unwritten, and begins what is due."""
        # What is done leaves room; only where something is known to wait for that is it worth a look.
        self._looks = self._looks or (self._is_more and bool(self._done))
        await self._record()
        if not self._may_send():
            return
        if self._fans_out:
            self._fans_out = False
            if await self._fan_out.step():
                self._fans_out = True
                self._news.set()
        if self._looks and len(self._under_way) < MAX_UNDER_WAY:
            self._looks = False
            now_ms = self._clock.now_ms()
            found = await self._outbox.look(now_ms, now_ms + self._horizon_ms, self._under_way)
            self._is_more = found.is_more
            for one in found.rows:
                if self._may_send():
                    self._begin(one)
            if found.goes_on:
                self._looks = True
                self._news.set()

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        """Takes a step; what fails is tried again at the next look."""
        try:
            await step()
        except (StorageFailed, Overloaded) as error:
            if not (isinstance(error, StorageFailed) and error.fatal):  # which was told
                log.warning("sending_waits", error=error.message)
        except Exception:  # a defect in one turn must not end all later ones
            log.exception("sending_failed")

    def _begin(self, delivery: Delivery) -> None:
        self._under_way[delivery.org, delivery.delivery_id] = delivery
        task = asyncio.create_task(self._attempt(delivery), name="towerlog-delivery")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, delivery: Delivery) -> None:
        at_ms = self._clock.now_ms()
        try:
            outcome = await self._sent(delivery)
        except Exception:  # a message that cannot be made must not stay under way for ever
            log.exception("delivery_failed", delivery_id=delivery.delivery_id)
            outcome = Undelivered(EgressFailure.INTERNAL, "an error of Towerlog's own; its log has it", 0)
        wait_ms = 0
        if isinstance(outcome, HttpAnswer):
            words = "" if outcome.is_accepted else f"answered with {outcome.status}"
            attempt = Attempt(at_ms, outcome.duration_ms, outcome.status, words)
            accepted, final = outcome.is_accepted, outcome.status == _GONE
            wait_ms = outcome.wait_ms(self._clock.now_ms())
        elif isinstance(outcome, MailAccepted):
            attempt, accepted, final = Attempt(at_ms, outcome.duration_ms), True, False
        else:
            attempt = Attempt(at_ms, outcome.duration_ms, words=outcome.words)
            accepted, final = False, outcome.is_final
        self._done.append(RecordAttempt(delivery.org, delivery.delivery_id, attempt, accepted, final, wait_ms))
        self._news.set()

    async def _with_links(self, delivery: Delivery) -> Delivery:
        """With the page of its run, and the address of its answer link while that can be used."""
        link, answer_url = delivery.link, None
        if self._links is None:
            return delivery
        if link is not None and link.expires_at > self._clock.now_ms():
            org = await self._store.org(link.org)
            assert org is not None
            answer_url = self._links.url_of(msgspec.structs.replace(link, org_id=org.org_id))
        return with_links(delivery, self._links.public_url, answer_url)

    async def _sent(self, delivery: Delivery) -> HttpAnswer | MailAccepted | Undelivered:
        if bytes(delivery.body) == ERASED_BODY:
            return Undelivered(EgressFailure.REFUSED_HERE, _ERASED, 0)
        delivery = await self._with_links(delivery)
        channel, ways_out = delivery.channel, self._ways_out
        if channel.type is ChannelType.EMAIL:
            if ways_out.mailer is None:
                return Undelivered(EgressFailure.REFUSED_HERE, NO_MAIL, 0)
            subject, text = mail_of(delivery)
            return await ways_out.mailer.send(
                channel.target, subject, text, delivery.message_id, org_id=str(delivery.org)
            )
        body, headers = bytes(delivery.body), dict(_JSON)
        if channel.type is ChannelType.WEBHOOK:
            now_ms = self._clock.now_ms()
            secrets = await self._secrets_of(delivery, now_ms)
            if not secrets:
                return Undelivered(EgressFailure.REFUSED_HERE, _NOT_SIGNED, 0)
            headers |= signed_headers(secrets, delivery.message_id, now_ms // 1000, body)
        else:
            body = CHAT_BODIES[channel.type](notice_of(delivery))
        return await ways_out.poster.post(channel.target, body, headers, org_id=str(delivery.org))

    async def _secrets_of(self, delivery: Delivery, now_ms: int) -> list[str]:
        """What a message is signed with now, the newest first: a secret that was replaced signs nothing for long,
        however old the message is."""
        rule = await self._store.alert_rule(delivery.org, delivery.rule_id)
        mine = (delivery.channel.type, delivery.channel.target)
        found = [one for one in (() if rule is None else rule.channels) if (one.type, one.target) == mine]
        return [one.text for one in found[0].secrets if one.until is None or now_ms < one.until] if found else []

    async def _record(self) -> None:
        """Stores what has come of attempts. What cannot be stored now is kept, and its deliveries stay under way."""
        while self._done:
            some = self._done[:RECORDED_AT_ONCE]

            async def find(_unit: Unit, _heard_ms: int, some: list[RecordAttempt] = some) -> list[RecordAttempt]:
                return some

            if await self._upkeep(find, _needs, self._place) is None:
                return
            del self._done[: len(some)]
            for one in some:
                sent = self._under_way.pop((one.org, one.delivery_id), None)
                if sent is not None and is_given_up(sent, one, self._pauses):
                    self._note_given_up(sent, one.attempt)

    def _note_given_up(self, delivery: Delivery, last: Attempt) -> None:
        self.given_up += 1
        log.warning(
            "delivery_given_up",
            delivery_id=delivery.delivery_id,
            rule_id=delivery.rule_id,
            receiver=delivery.channel.receiver(),
            error=last.words,
        )

    def _place(self, plan: Plan, done: list[RecordAttempt]) -> Steps[None]:
        for one in done:
            row = plan.alerts.delivery(one.org, one.delivery_id)
            # One that was sent anew meanwhile is still to be attempted, and one that is gone is nobody's any more.
            if row is not None and row.state is DeliveryState.PENDING:
                after = after_attempt(row, one, self._pauses)
                plan.alerts.put_delivery(row, after)
            yield


def _needs(needs: Needs, done: list[RecordAttempt]) -> None:
    for one in done:
        needs.counters(one.org)
        needs.want(Kind.DELIVERY, (one.org, one.delivery_id))
        needs.want(Kind.OUTBOX_COUNTS, one.org)
