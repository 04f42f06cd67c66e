"""A replay's transactions: the progress row moves, deltas count, quarantine rows have the states of the batch.

Every write requires the progress row as it was read. A repetition, a late request and a run that was overtaken count
nothing.
"""

from threading import Event
from typing import Any, Final

from consumer.aws.errors import call_with_retries
from consumer.aws.items import NEW_ROW, Action, Item, number, progress_item, progress_key, progress_row, quarantine_key
from consumer.aws.operator_writes import put_audit_entry
from consumer.aws.transact import add_delta, refused_deltas, transact
from consumer.domain.audit import AuditEntry
from consumer.domain.leases import Shard, TableNames
from consumer.domain.replay import Batch, Changed, Overtaken, Progress
from consumer.domain.replies import Committed, Done, Refused

RUNNER: Final = "runner = :me"
"""Fences: of two runs of a replay only the one that took the row over last continues."""
POSITION: Final = "#position = :previous"
"""Makes it exact: a batch counts only where the one before it ended, once."""
SAME_STATE: Final = "#state = :state"
"""The quarantine row has the state that the batch relies on."""


class DynamoReplays:
    """The Replays port over a boto3 client. Only the read is retried; it waits on `stop`."""

    def __init__(self, client: Any, tables: TableNames, stop: Event) -> None:
        self._client = client
        self._tables = tables
        self._stop = stop

    def progress(self, shard: Shard, target: str) -> Progress | None:
        """One consistent read; see operator_ports.Replays."""

        def read() -> Progress | None:
            key = progress_key(shard, target)
            item = self._client.get_item(TableName=self._tables.leases, Key=key, ConsistentRead=True).get("Item")
            return progress_row(item) if item else None

        return call_with_retries(read, self._stop)

    def put(self, before: Progress | None, after: Progress, audit_entry: AuditEntry) -> Done | Overtaken:
        """The row and the audit entry; see operator_ports.Replays."""
        put: dict[str, Any] = {"TableName": self._tables.leases, "Item": progress_item(after)}
        put |= _unchanged(before) if before is not None else {"ConditionExpression": NEW_ROW}
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        cancelled = transact(self._client, [{"Put": put}, put_audit_entry(self._tables.quarantine, audit_entry)])
        if cancelled is None:
            return Done()
        cancelled.require_failed_condition()
        found = _found(cancelled.failed.get(0))
        mine = found is not None and (found.runner, found.running) == (after.runner, after.running)
        return Done() if mine else Overtaken(found)

    def count(
        self, progress: Progress, batch: Batch, later: frozenset[str]
    ) -> Committed | Overtaken | Changed | Refused:
        """The row, the deltas and the checks; see operator_ports.Replays."""
        players = list(batch.unit.deltas)
        numbers = list(batch.states)
        actions = [self._advance(progress, progress.after(batch))]
        actions += [
            add_delta(progress.target, player, batch.unit.deltas[player], dated=player not in later)
            for player in players
        ]
        actions += [self._check_state(progress.shard, number, batch.states[number]) for number in numbers]
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Committed()
        if 0 in cancelled.failed:
            return Overtaken(_found(cancelled.failed[0]))
        changed = frozenset(numbers[index - 1 - len(players)] for index in cancelled.failed if index > len(players))
        return Changed(changed) if changed else refused_deltas(cancelled, players, batch.unit.deltas)

    def _advance(self, before: Progress, after: Progress) -> Action:
        update = {
            "TableName": self._tables.leases,
            "Key": progress_key(before.shard, before.target),
            "UpdateExpression": "SET #position = :last, games = :games, skipped = :skipped",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **_unchanged(before),
        }
        update["ExpressionAttributeValues"] |= {
            ":last": {"S": after.position},
            ":games": number(after.games),
            ":skipped": number(after.skipped),
        }
        return {"Update": update}

    def _check_state(self, shard: Shard, sequence_number: str, state: str) -> Action:
        return {
            "ConditionCheck": {
                "TableName": self._tables.quarantine,
                "Key": quarantine_key(shard.shard_id, sequence_number),
                "ConditionExpression": SAME_STATE,
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": {":state": {"S": state}},
            }
        }


def _unchanged(before: Progress) -> dict[str, Any]:
    return {
        "ConditionExpression": f"{RUNNER} AND {POSITION}",
        "ExpressionAttributeNames": {"#position": "position"},
        "ExpressionAttributeValues": {":me": {"S": before.runner}, ":previous": {"S": before.position}},
    }


def _found(item: Item | None) -> Progress | None:
    return progress_row(item) if item else None
