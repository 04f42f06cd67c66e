"""A replay's transactions: the progress row moves, deltas count, quarantine rows say what they said; or nothing.

Written under the row as it is known: whoever repeats, comes late or was overtaken counts nothing.
"""

from typing import Any, Final

from consumer.aws.adapters import OperatorAdapter
from consumer.aws.audit import audit_put
from consumer.aws.deltas import add, refused
from consumer.aws.items import NEW_ROW, Item, number
from consumer.aws.pages import ask
from consumer.aws.replay_items import progress_item, progress_key, progress_row
from consumer.aws.transaction import Action, transact
from consumer.domain.audit import Trace
from consumer.domain.leases import Shard
from consumer.domain.outcomes import Committed, Done, Refused
from consumer.domain.replay import Batch, Changed, Overtaken, Progress

RUNNER: Final = "runner = :me"
"""Fences: of two that run the same replay only the one that took the row last goes on."""
POSITION: Final = "#position = :previous"
"""Makes it exact: a batch counts only where the one before it ended, once."""
SAME_STATE: Final = "#state = :state"
"""The record's row says what it said when the batch was cut."""


class DynamoReplays(OperatorAdapter):
    """The Replays port over a boto3 client; only the read waits on `stop` when it must be tried again."""

    def progress(self, shard: Shard, target: str) -> Progress | None:
        """One consistent read; see operator_ports.Replays."""

        def read() -> Progress | None:
            key = progress_key(shard, target)
            item = self._client.get_item(TableName=self._leases, Key=key, ConsistentRead=True).get("Item")
            return progress_row(item) if item else None

        return ask(read, self._stop)

    def put(self, before: Progress | None, after: Progress, trace: Trace) -> Done | Overtaken:
        """The row and the trace; see operator_ports.Replays."""
        put: dict[str, Any] = {"TableName": self._leases, "Item": progress_item(after)}
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if before is None:
            put["ConditionExpression"] = NEW_ROW
        else:
            put["ConditionExpression"] = f"{RUNNER} AND {POSITION}"
            put["ExpressionAttributeNames"] = {"#position": "position"}
            put["ExpressionAttributeValues"] = {":me": {"S": before.runner}, ":previous": {"S": before.position}}
        cancelled = transact(self._client, [{"Put": put}, audit_put(self._quarantine, trace)])
        if cancelled is None:
            return Done()
        cancelled.only_conditions()
        found = _found(cancelled.failed.get(0))
        mine = found is not None and (found.runner, found.running) == (after.runner, after.running)
        return Done() if mine else Overtaken(found)

    def count(
        self, progress: Progress, batch: Batch, later: frozenset[str]
    ) -> Committed | Overtaken | Changed | Refused:
        """One transaction; see operator_ports.Replays."""
        players = list(batch.unit.deltas)
        numbers = list(batch.states)
        actions = [self._advance(progress, progress.after(batch))]
        actions += [
            add(progress.target, player, batch.unit.deltas[player], dated=player not in later) for player in players
        ]
        actions += [self._check(progress.shard, number, batch.states[number]) for number in numbers]
        cancelled = transact(self._client, actions)
        if cancelled is None:
            return Committed()
        if 0 in cancelled.failed:
            return Overtaken(_found(cancelled.failed[0]))
        changed = frozenset(numbers[index - 1 - len(players)] for index in cancelled.failed if index > len(players))
        return Changed(changed) if changed else refused(cancelled, players, batch.unit.deltas)

    def _advance(self, before: Progress, after: Progress) -> Action:
        return {
            "Update": {
                "TableName": self._leases,
                "Key": progress_key(before.shard, before.target),
                "UpdateExpression": "SET #position = :last, games = :games, skipped = :skipped",
                "ConditionExpression": f"{RUNNER} AND {POSITION}",
                "ExpressionAttributeNames": {"#position": "position"},
                "ExpressionAttributeValues": {
                    ":me": {"S": before.runner},
                    ":previous": {"S": before.position},
                    ":last": {"S": after.position},
                    ":games": number(after.games),
                    ":skipped": number(after.skipped),
                },
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _check(self, shard: Shard, sequence_number: str, state: str) -> Action:
        return {
            "ConditionCheck": {
                "TableName": self._quarantine,
                "Key": {"shardId": {"S": shard.shard_id}, "sequenceNumber": {"S": sequence_number}},
                "ConditionExpression": SAME_STATE,
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": {":state": {"S": state}},
            }
        }


def _found(item: Item | None) -> Progress | None:
    return progress_row(item) if item else None
