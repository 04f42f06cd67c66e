"""The event log: turns the events of the machines into log lines and metrics. The machines themselves know neither."""

from functools import lru_cache
from math import inf
from typing import Any, Final

from consumer.domain.breaker import HaltReason
from consumer.domain.leases import Lease, StreamStart
from consumer.domain.marks import Writes, writes_of
from consumer.domain.ports import Meters, RulesInUse, WorkerStatus
from consumer.domain.stream_halt import StreamHaltReason
from consumer.worker import events
from consumer.worker.calls import Call, Reply
from consumer.worker.log_memory import Floods, Outages
from consumer.worker.status import AWAITING_STREAM
from consumer.worker.stream_start import StartPosition, is_unused, position_text

SUMMARY_SECONDS: Final = 60.0
"""How often a summary is logged at INFO, whatever happens: who has nothing but the log sees a worker that is stuck."""
SHOWN_WAITING: Final = 10
"""So many of the shards that wait for a worker of newer rules are named."""
MOST_BOUND_LOGS: Final = 1_000
"""Loggers of leases that are kept: to bind one costs more than a line that is not logged."""


class EventLog:
    """`log` is a structlog logger with the worker's id bound. `player`: the source's attribute of that name.

    `start_position`: the one that was given in the settings, if any.
    """

    def __init__(
        self, log: Any, meters: Meters, player: str = "playerId", start_position: StartPosition | None = None
    ) -> None:
        self._log = log
        self._player = player
        self._start_position = start_position
        self._writes: dict[str, Writes] = {}
        self._log_of = lru_cache(maxsize=MOST_BOUND_LOGS)(self._bind)
        self._meters = meters
        self._records = 0
        self._units = 0
        self._outages = Outages()
        self._floods = Floods()
        self._summary_at: float | None = None
        self._progress_at = inf
        self._halts: dict[StreamHaltReason, str] = {}
        self._rules = RulesInUse()
        self._later_stream = 0

    def report(self, reported: list[events.Event], unix_now: float) -> None:
        """Logs and counts events that happened at `unix_now`."""
        for event in reported:
            self._report(event, unix_now)

    def show_status(self, status: WorkerStatus, pending: int | None, unix_now: float) -> None:
        """Exports the status of the worker, and logs a summary from time to time."""
        self._meters.snapshot(status, pending, unix_now)
        self._log_halts(status)
        self._log_rules(status.rules)
        self._log_later_stream(status.shards.get(AWAITING_STREAM, 0))
        if self._summary_at is None:
            self._summary_at = unix_now + SUMMARY_SECONDS
            self._progress_at = min(self._progress_at, unix_now)
        elif unix_now >= self._summary_at:
            self.log_summary(status, pending, unix_now)
            self._summary_at = unix_now + SUMMARY_SECONDS

    def answered(self, call: Call, reply: Reply, unix_now: float) -> None:
        """Logs that a call succeeds again, after an outage."""
        ended = self._outages.ended_by(call, reply)
        if ended is None:
            return
        lease, outage = ended
        (self._log_of(lease) if lease else self._log).info(
            "call.recovered",
            operation=call.operation.value,
            reason=outage.reason,
            attempts=outage.attempts,
            seconds=round(max(0.0, unix_now - outage.since), 1),
        )

    def credentials_renewed(self) -> None:
        """See CredentialObserver."""
        self._log.info("credentials.renewed")

    def credentials_failed(self, detail: str, *, usable: bool) -> None:
        """See CredentialObserver."""
        self._meters.credential_failure()
        self._log.warning("credentials.failed", detail=detail, usable=usable)

    def _log_halts(self, status: WorkerStatus) -> None:
        """A line when a stream halts, or the sentence for the operator changes, and one when it halts no more."""
        halts = dict(status.stream_halts)
        for reason in self._halts.keys() - halts.keys():
            self._log.info("stream.resumed", reason=reason.value)
        for reason, detail in halts.items() - self._halts.items():
            self._log.error("stream.halted", reason=reason.value, detail=detail)
        self._halts = halts

    def _log_rules(self, rules: RulesInUse) -> None:
        """A line when this worker's number is known or changes, or newer rules are accepted; and one when other shards
        wait for a worker of newer rules, or none does any more.
        """
        before, self._rules = self._rules, rules
        if (before.own, before.newest) != (rules.own, rules.newest):
            self._log.info("worker.rules", number=rules.own, newest=rules.newest)
        if rules.waiting and rules.waiting != before.waiting:
            shown = [str(shard) for shard in rules.waiting[:SHOWN_WAITING]]
            self._log.warning(
                "rules.shards_waiting",
                shards=len(rules.waiting),
                needed=rules.needed,
                number=rules.own,
                shard_ids=shown,
            )
        elif before.waiting and not rules.waiting:
            self._log.info("rules.shards_taken_up")

    def _log_later_stream(self, shards: int) -> None:
        """A line when shards must wait for an older stream, or more or fewer of them, and one when that is over."""
        before, self._later_stream = self._later_stream, shards
        if shards and shards != before:
            self._log.info("stream.shards_waiting", shards=shards)
        elif before and not shards:
            self._log.info("stream.shards_taken_up")

    def log_summary(self, status: WorkerStatus, pending: int | None, unix_now: float) -> None:
        """One line on what was committed since the last summary, and on how the worker is; and one per flood of poison.

        Before the first progress it counts from the start.
        """
        self._log.info(
            "worker.summary",
            records=self._records,
            units=self._units,
            quarantined=self._floods.quarantined,
            seconds_without_progress=round(max(0.0, unix_now - self._progress_at), 1),
            lag_seconds=None if status.lag_seconds is None else round(status.lag_seconds, 1),
            lag_known=status.lag_known,
            leases_owned=status.leases_owned,
            shards={state: count for state, count in status.shards.items() if count},
            not_ready=len(status.not_ready),
            rules=status.rules.own,
            newest_rules=status.rules.newest,
            quarantine_pending=pending,
        )
        self._records = self._units = 0
        for reason, records, example in self._floods.take():
            self._log.warning(
                "quarantine.flood",
                reason=reason.value,
                records=records,
                shard_id=example.shard,
                sequence_number=example.sequence_number,
            )

    def _report(self, event: events.Event, unix_now: float) -> None:
        match event:
            case events.UnitCommitted():
                self._committed(event, unix_now)
            case events.CaughtUp():
                self._meters.progress(unix_now)
                self._progress_at = unix_now
            case events.RetryScheduled():
                self._retried(event, unix_now)
            case events.LeaseClaimed() | events.LeaseLost() | events.LeaseReleased() | events.HandOverDecided():
                self._report_lease(event)
            case events.Joined(owner):
                self._log.info("worker.joined", owner=owner)
            case events.MemberEvicted(owner):
                self._log.info("worker.buried", owner=owner)
            case events.Removed(owner):
                self._log.warning("worker.removed", owner=owner)
            case _:
                self._report_shard(event, unix_now)

    def _report_lease(
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
                    rules=row.rules,
                )
            case events.LeaseLost(lease, owner):
                self._log_of(lease).info("lease.lost", owner=owner)
                self._outages.forget(lease)
            case events.LeaseReleased(lease):
                self._log_of(lease).info("lease.released")
                self._outages.forget(lease)
            case events.HandOverDecided(shard):
                self._log.info("lease.hand_over", shard_id=str(shard))

    def _report_shard(self, event: events.Event, unix_now: float) -> None:
        """Events of shards and streams. Some are for the machines alone."""
        match event:
            case events.ShardRewound(lease, checkpoint):
                self._log_of(lease).info("shard.rewound", checkpoint=checkpoint)
            case events.ShardEnded(lease, children):
                self._log_of(lease).info("shard.ended", children=list(children))
                self._outages.forget(lease)
            case events.ShardHalted(shard, checkpoint, circuit):
                reason, detail = ("row_missing", None) if circuit is None else ("poison_flood", circuit.cause)
                if circuit is not None and circuit.unknown_mark is not None:
                    reason = HaltReason.MARK_UNKNOWN.value
                self._log.error(
                    "shard.halted", shard_id=str(shard), reason=reason, checkpoint=checkpoint, detail=detail
                )
            case events.ResumeFound(row):
                self._log.info("shard.resumed", shard_id=str(row.shard), free_to=row.circuit.free_to)
            case events.GapFound(shard, checkpoint, new):
                if new:
                    self._meters.gap()
                self._log.error("shard.gap", shard_id=str(shard), checkpoint=checkpoint, certain=False, new=new)
            case events.StreamStarted(stream_arn, start_time, roots, predecessor):
                self._log.info("stream.pinned", stream_arn=stream_arn, floor=start_time, roots=len(roots))
                if predecessor is not None:
                    self._meters.gap()
                    self._log.error("stream.gap", stream_arn=stream_arn, predecessor=predecessor, certain=False)
                else:
                    self._start_position = None  # it has had its effect
            case events.StreamListed(listing, StreamStart() as start):
                self._check_start_position(start, unix_now)
                writes = writes_of(start, listing.partition_key, self._player)
                if self._writes.get(start.stream_arn) != writes:
                    self._writes[start.stream_arn] = writes
                    self._log.info("stream.writes", stream_arn=start.stream_arn, mode=writes.mode.value, why=writes.why)
            case events.ShardsAdopted(adoption):
                shard_ids = [str(row.shard) for row in adoption.rows]
                self._log.info("shard.found_late", shard_ids=shard_ids, parent_shard_id=adoption.rows[0].parent)
            case events.RowForgotten(shard):
                self._log.info("lease.forgotten", shard_id=str(shard))
            case _:
                pass

    def _check_start_position(self, start: StreamStart, unix_now: float) -> None:
        """A warning, once, if a start position was given and the stream had been started elsewhere before."""
        position, self._start_position = self._start_position, None
        if position is not None and is_unused(position, start, unix_now):
            self._log.warning(
                "stream.start_position_unused",
                stream_arn=start.stream_arn,
                start_position=position_text(position),
                floor=start.start_time,
                detail="CONSUMER_START_POSITION has no effect: the stream was started before, and each shard goes on "
                "behind its checkpoint. Leave it out; `consumer checkpoint set` moves a shard",
            )

    def _committed(self, event: events.UnitCommitted, unix_now: float) -> None:
        unit = event.unit
        log = self._log_of(event.lease)
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
        self._meters.committed(event.seconds, unix_now)
        self._progress_at = unix_now
        for outcome, count in unit.outcomes.items():
            self._meters.records(outcome.value, count)
        self._records += unit.records
        self._units += 1
        for poison in self._floods.apart(event.lease, unit.poison):
            log.warning("record.quarantined", sequence_number=poison.sequence_number, reason=poison.reason.value)

    def _retried(self, event: events.RetryScheduled, unix_now: float) -> None:
        """Every retry is counted; the first, second, fourth, eighth, ... consecutive one is logged."""
        self._outages.failed(event, unix_now)
        self._meters.retry(event.operation.value, event.kind.value)
        if event.attempt & (event.attempt - 1):
            return
        log = self._log_of(event.lease) if event.lease else self._log
        log.warning(
            "call.retry_scheduled",
            operation=event.operation.value,
            reason=event.kind.value,
            detail=event.detail,
            attempt=event.attempt,
            delay_seconds=round(event.delay_seconds, 3),
        )

    def _bind(self, lease: Lease) -> Any:
        return self._log.bind(shard_id=str(lease.shard), lease_epoch=lease.epoch)
