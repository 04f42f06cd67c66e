"""What a person does with quarantined records: each act one transaction, only while the record is pending."""

from threading import Event
from typing import Any, Final

from consumer.aws.audit import audit_put
from consumer.aws.deltas import add, is_later
from consumer.aws.items import Item, iso, text
from consumer.aws.quarantine import DynamoQuarantine, head_of
from consumer.aws.transaction import Action, Cancelled, transact
from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Done, Refused
from consumer.domain.quarantine import Act, Application, State, Taken

STILL_PENDING: Final = "#state = :pending"
"""Makes it exact: of two operators, two attempts, a crash and its repetition, one is counted."""


class DynamoRedrives(DynamoQuarantine):
    """The Quarantine port over a boto3 client. Reads wait on `stop` when they must be tried again; acts do not."""

    def __init__(self, client: Any, leaderboard: str, quarantine: str, stop: Event) -> None:
        super().__init__(client, quarantine, stop)
        self._leaderboard = leaderboard

    def apply(self, application: Application) -> Done | Taken | Refused:
        """The player's delta, the row's new state and the trace; see operator_ports.Quarantine."""
        act, player, delta = application.act, application.player, application.delta
        more: dict[str, Any] = {}
        if application.repairs:
            more["repairs"] = {"M": {field: {"S": value} for field, value in sorted(application.repairs.items())}}
        settle = self._settle(act, State.APPLIED, more)
        cancelled = transact(
            self._client,
            [settle, add(self._leaderboard, player, delta, dated=application.dated), self._traced(act)],
        )
        if cancelled is None:
            return Done()
        if 0 in cancelled.failed:
            return _settled_before(act, cancelled.failed[0])
        if 1 in cancelled.failed:
            stored = text(cancelled.failed[1] or {}, "lastPlayedDate")
            if stored is not None and is_later(stored, delta.date):
                return Refused({player: stored})
            return Refused(invalid="the stored lastPlayedDate is no date", suspects=frozenset([player]))
        _raise_conflict(cancelled)
        return Refused(invalid=cancelled.invalid, suspects=frozenset([player]))

    def discard(self, act: Act, why: str) -> Done | Taken:
        """The row's new state and the trace; see operator_ports.Quarantine."""
        settle = self._settle(act, State.DISCARDED, {"discardReason": {"S": why}})
        cancelled = transact(self._client, [settle, self._traced(act)])
        if cancelled is None:
            return Done()
        if 0 in cancelled.failed:
            return _settled_before(act, cancelled.failed[0])
        _raise_conflict(cancelled)
        raise Trouble(TroubleKind.REJECTED, cancelled.invalid or "the quarantine table refuses the row")

    def _settle(self, act: Act, state: State, more: dict[str, Any]) -> Action:
        """Only state and trace change: reason, detail and parts stay as they were found."""
        row = {f"{state}At": {"S": iso(act.trace.at)}, f"{state}By": {"S": act.trace.who}, "act": {"S": act.token}}
        row |= more
        return {
            "Update": {
                "TableName": self._quarantine,
                "Key": {"shardId": {"S": act.head.shard_id}, "sequenceNumber": {"S": act.head.sequence_number}},
                "UpdateExpression": "SET #state = :state, " + ", ".join(f"#{name} = :{name}" for name in row),
                "ConditionExpression": STILL_PENDING,
                "ExpressionAttributeNames": {"#state": "state", **{f"#{name}": name for name in row}},
                "ExpressionAttributeValues": {
                    ":pending": {"S": State.PENDING.value},
                    ":state": {"S": state.value},
                    **{f":{name}": value for name, value in row.items()},
                },
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _traced(self, act: Act) -> Action:
        return audit_put(self._quarantine, act.trace)


def _settled_before(act: Act, row: Item | None) -> Done | Taken:
    """Who it was: this very act, whose reply was lost, or somebody else."""
    if row and text(row, "act") == act.token:
        return Done()
    return Taken(head_of(row) if row else None)


def _raise_conflict(cancelled: Cancelled) -> None:
    if cancelled.conflict:
        raise Trouble(TroubleKind.CONFLICT, "another transaction holds a row of this one")
