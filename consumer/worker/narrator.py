"""Turns what the machines report into log lines and metrics; the machines themselves know neither."""

from typing import Any, Final

from consumer.domain.leases import Lease
from consumer.domain.ports import Meters
from consumer.domain.standing import Standing
from consumer.worker import events

SUMMARY_SECONDS: Final = 60.0
"""How often a summary is logged at INFO while records are committed."""


class Narrator:
    """`log` is a structlog logger with the worker's id bound."""

    def __init__(self, log: Any, meters: Meters) -> None:
        self._log = log
        self._meters = meters
        self._records = 0
        self._units = 0
        self._summary_at: float | None = None

    def tell(self, told: list[events.Event], unix_now: float) -> None:
        """Reports what happened at `unix_now`."""
        for event in told:
            self._tell(event, unix_now)

    def stand(self, standing: Standing, pending: int | None, unix_now: float) -> None:
        """Shows how things stand, and sums up from time to time."""
        self._meters.snapshot(standing, pending, unix_now)
        if self._summary_at is None:
            self._summary_at = unix_now + SUMMARY_SECONDS
        elif unix_now >= self._summary_at and self._units:
            self.sum_up(standing)
            self._summary_at = unix_now + SUMMARY_SECONDS

    def sum_up(self, standing: Standing) -> None:
        """One line on what was committed since the last one."""
        self._log.info(
            "worker.summary",
            records=self._records,
            units=self._units,
            lag_seconds=round(standing.lag_seconds, 1),
            leases_owned=standing.leases_owned,
        )
        self._records = self._units = 0

    def _bound(self, lease: Lease) -> Any:
        return self._log.bind(shard_id=str(lease.shard), lease_epoch=lease.epoch)

    def _tell(self, event: events.Event, unix_now: float) -> None:
        match event:
            case events.UnitCommitted():
                self._committed(event, unix_now)
            case events.CaughtUp():
                self._meters.progress(unix_now)
            case events.RetryScheduled():
                self._retried(event)
            case events.LeaseClaimed() | events.LeaseLost() | events.LeaseReleased() | events.HandOverDecided():
                self._tell_lease(event)
            case events.Joined(owner):
                self._log.info("worker.joined", owner=owner)
            case events.MemberBuried(owner):
                self._log.info("worker.buried", owner=owner)
            case events.Removed(owner):
                self._log.warning("worker.removed", owner=owner)
            case _:
                self._tell_shard(event)

    def _tell_lease(
        self, event: events.LeaseClaimed | events.LeaseLost | events.LeaseReleased | events.HandOverDecided
    ) -> None:
        match event:
            case events.LeaseClaimed(row, previous_owner):
                self._log.info(
                    "lease.claimed",
                    shard_id=str(row.shard),
                    lease_epoch=row.epoch,
                    checkpoint=row.checkpoint,
                    previous_owner=previous_owner,
                )
            case events.LeaseLost(lease, owner):
                self._bound(lease).info("lease.lost", owner=owner)
            case events.LeaseReleased(lease):
                self._bound(lease).info("lease.released")
            case events.HandOverDecided(shard):
                self._log.info("lease.hand_over", shard_id=str(shard))

    def _tell_shard(self, event: events.Event) -> None:
        """What became of shards and streams. Some of it is for the worker's own ears."""
        match event:
            case events.ShardRewound(lease, checkpoint):
                self._bound(lease).info("shard.rewound", checkpoint=checkpoint)
            case events.ShardEnded(lease, children):
                self._bound(lease).info("shard.ended", children=list(children))
            case events.ShardHalted(shard, checkpoint, row_missing):
                reason = "row_missing" if row_missing else "poison_flood"
                self._log.error("shard.halted", shard_id=str(shard), reason=reason, checkpoint=checkpoint)
            case events.ResumeFound(row):
                self._log.info("shard.resumed", shard_id=str(row.shard), free_to=row.circuit.free_to)
            case events.GapFound(shard, checkpoint, new):
                if new:
                    self._meters.gap()
                self._log.error("shard.gap", shard_id=str(shard), checkpoint=checkpoint, certain=False, new=new)
            case events.StreamPinned(stream_arn, floor, roots, predecessor):
                self._log.info("stream.pinned", stream_arn=stream_arn, floor=floor, roots=len(roots))
                if predecessor is not None:
                    self._meters.gap()
                    self._log.error("stream.gap", stream_arn=stream_arn, predecessor=predecessor, certain=False)
            case events.ShardsAdopted(adoption):
                shard_ids = [str(row.shard) for row in adoption.rows]
                self._log.info("shard.found_late", shard_ids=shard_ids, parent_shard_id=adoption.rows[0].parent)
            case events.RowForgotten(shard):
                self._log.info("lease.forgotten", shard_id=str(shard))
            case _:
                pass

    def _committed(self, event: events.UnitCommitted, unix_now: float) -> None:
        unit = event.unit
        self._meters.committed(event.seconds, unix_now)
        for outcome, count in unit.outcomes.items():
            self._meters.records(outcome, count)
        self._records += unit.records
        self._units += 1
        log = self._bound(event.lease)
        log.debug(
            "unit.committed",
            checkpoint=unit.last,
            previous=unit.previous,
            records=unit.records,
            players=len(unit.deltas),
            seconds=round(event.seconds, 4),
            settled=event.settled,
            **{outcome.value: count for outcome, count in unit.outcomes.items()},
        )
        for poison in unit.poison:
            log.warning("record.quarantined", sequence_number=poison.sequence_number, reason=poison.reason.value)

    def _retried(self, event: events.RetryScheduled) -> None:
        """Every retry is counted; the log hears of the first, the second, the fourth, ... in a row."""
        self._meters.retry(event.operation, event.kind)
        if event.attempt & (event.attempt - 1):
            return
        log = self._bound(event.lease) if event.lease else self._log
        log.warning(
            "call.retry_scheduled",
            operation=event.operation,
            reason=event.kind.value,
            detail=event.detail,
            attempt=event.attempt,
            delay_seconds=round(event.delay_seconds, 3),
        )
