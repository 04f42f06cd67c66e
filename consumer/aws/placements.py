"""A shard's row as a person places it: one transaction with its audit row, under the row as it was read."""

from typing import Any, Final

from consumer.aws.adapters import OperatorAdapter
from consumer.aws.audit import audit_put
from consumer.aws.items import (
    MEMBERS_KEY,
    NEW_ROW,
    lease_item,
    lease_key,
    lease_row,
    members_of,
    number,
    pin_check,
    seconds,
    shard_key,
)
from consumer.aws.listings import date_of
from consumer.aws.membership import bump
from consumer.aws.pages import ask
from consumer.aws.transaction import Action, transact
from consumer.domain.audit import Trace
from consumer.domain.leases import LeaseRow, Members
from consumer.domain.outcomes import Done, Lost

UNCHANGED: Final = "leaseEpoch = :epoch AND checkpoint = :previous"
"""With the owner: nobody has claimed, committed or placed since the row was read."""


class DynamoPlacements(OperatorAdapter):
    """The Placements port over a boto3 client; calls that must be tried again wait on `stop`."""

    def look(self) -> tuple[Members, float]:
        """One consistent read; see operator_ports.Placements."""

        def read() -> tuple[Members, float]:
            answer = self._client.get_item(TableName=self._leases, Key=lease_key(MEMBERS_KEY), ConsistentRead=True)
            return members_of(answer.get("Item", {})), date_of(answer)

        return ask(read, self._stop)

    def place(self, before: LeaseRow | None, after: LeaseRow, trace: Trace) -> Done | Lost:
        """See operator_ports.Placements. A repetition after a lost answer is the same request to DynamoDB."""
        row = self._put(after) if before is None else self._move(before, after)
        actions = [row, audit_put(self._quarantine, trace), bump(self._leases)]
        if before is None:
            # A late repetition must not begin a lease table that was emptied since: its row would be the only one.
            actions.append(pin_check(self._leases, after.shard.stream_arn, pinned=True))

        def write() -> Done | Lost:
            cancelled = transact(self._client, actions)
            if cancelled is None:
                return Done()
            cancelled.only_conditions()
            found = cancelled.failed.get(0)
            return Lost(lease_row(found) if found else None)

        return ask(write, self._stop)

    def _put(self, after: LeaseRow) -> Action:
        put = {"TableName": self._leases, "Item": lease_item(after), "ConditionExpression": NEW_ROW}
        return {"Put": {**put, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}

    def _move(self, before: LeaseRow, after: LeaseRow) -> Action:
        """Only what a placement changes: lineage and notes in the row stay."""
        values: dict[str, Any] = {
            ":epoch": number(before.epoch),
            ":previous": {"S": before.checkpoint},
            ":new": number(after.epoch),
            ":position": {"S": after.checkpoint},
            ":resumes": number(after.circuit.resumes),
        }
        held = "attribute_not_exists(leaseOwner)"
        if before.owner is not None:
            held, values[":owner"] = "leaseOwner = :owner", {"S": before.owner}
        created = ""
        if after.created is not None:
            created, values[":created"] = ", checkpointCreatedAt = :created", seconds(after.created)
        expression = (
            f"SET checkpoint = :position, leaseEpoch = :new, resumes = :resumes{created} "
            "REMOVE leaseOwner, haltedAt, recentPoison, freeTo"
        )
        return {
            "Update": {
                "TableName": self._leases,
                "Key": lease_key(shard_key(before.shard)),
                "UpdateExpression": expression,
                "ConditionExpression": f"{held} AND {UNCHANGED}",
                "ExpressionAttributeValues": values,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
