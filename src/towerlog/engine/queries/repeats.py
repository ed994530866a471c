"""Answers under an Idempotency-Key: made and kept for a repeat, and what a repeat is answered."""

from __future__ import annotations

from towerlog.engine.commit.queue import Intake
from towerlog.engine.commit.replies import decode_ids
from towerlog.engine.control.holders import BY_LEASE_HOLDER, may_repeat
from towerlog.engine.queries.reads import Reads
from towerlog.engine.queries.replies import Replies
from towerlog.errors import LeaseLost
from towerlog.model.command import Claim, Idempotency, Write
from towerlog.model.outcome import NothingToClaim, Outcome, Placed, Replayed
from towerlog.model.principal import Principal
from towerlog.store.base import LaneStore


class RepeatedAnswers:
    """What becomes of a command after its commit: its answer, or the one that was given before."""

    def __init__(self, store: LaneStore, reads: Reads, replies: Replies, intake: Intake) -> None:
        """`intake` has the writer keep the status and body that a reply had."""
        self._store, self._reads, self.replies, self._intake = store, reads, replies, intake

    async def answer(
        self, principal: Principal, command: Write, placed: Placed | Replayed, idempotency: Idempotency | None
    ) -> Outcome:
        """The whole answer, kept under its key; a repeat gets the one before. Raises LeaseLost."""
        if isinstance(placed, Replayed):
            return await self._again(principal, command, placed, idempotency)
        outcome = await self.replies.complete(principal, placed)
        still_waiting = isinstance(command, Claim) and command.wait_ms > 0 and isinstance(placed, NothingToClaim)
        if idempotency is not None and not still_waiting:
            self._intake.keep_body(principal, idempotency, *idempotency.encode(outcome))
        return outcome

    async def _again(
        self, principal: Principal, command: Write, known: Replayed, idempotency: Idempotency | None
    ) -> Replayed:
        """A worker's answer is given again if what it says still holds."""
        if isinstance(command, BY_LEASE_HOLDER):
            run = known.run
            if run is None and not isinstance(command, Claim):
                run = (await self._reads.run_of(principal, command.run_id)).run
            if run is not None:  # a claim that found nothing may be told so again
                lane = await self._store.lane(principal.org, run)
                if not may_repeat(principal, command.worker_id, known.lease_epoch, lane):
                    raise LeaseLost
        if known.status or idempotency is None:
            return Replayed(known.status, known.body)
        # The process was lost before it had stored the reply, or the reply is on its way to the disk.
        status, body = idempotency.encode(await self.replies.again(principal, decode_ids(known.ids)))
        self._intake.keep_body(principal, idempotency, status, body)
        return Replayed(status, body)
