"""A person closes a shard's circuit: one transaction, which also makes the shard's owner look at once."""

from typing import Any, Final

from consumer.aws.audit import audit_put
from consumer.aws.items import lease_key, lease_row, number, seconds, shard_key, text
from consumer.aws.membership import bump
from consumer.aws.transaction import Action, transact
from consumer.domain.audit import Trace
from consumer.domain.leases import LeaseRow
from consumer.domain.outcomes import Done, Lost

SAME_HALT: Final = "haltedAt = :halted"
"""A row that was deleted, made again and halted again counts its resumes from the beginning."""


class DynamoCircuits:
    """The Circuits port over a boto3 client."""

    def __init__(self, client: Any, leases: str, quarantine: str) -> None:
        self._client = client
        self._leases = leases
        self._quarantine = quarantine

    def resume(self, row: LeaseRow, free_to: str | None, token: str, trace: Trace) -> Done | Lost:
        """The row, the trace, and the members' counter of changes; see operator_ports.Circuits."""
        cancelled = transact(
            self._client, [self._close(row, free_to, token), audit_put(self._quarantine, trace), bump(self._leases)]
        )
        if cancelled is None:
            return Done()
        cancelled.only_conditions()
        found = cancelled.failed.get(0)
        if found and text(found, "resumeAct") == token:
            return Done()
        return Lost(lease_row(found) if found else None)

    def _close(self, row: LeaseRow, free_to: str | None, token: str) -> Action:
        resumes = row.circuit.resumes
        expression = "SET resumes = :next, resumeAct = :act"
        halted_at = row.circuit.halted_at or 0.0  # no row is halted since 1970
        values = {":next": number(resumes + 1), ":act": {"S": token}, ":halted": seconds(halted_at)}
        if free_to is not None:
            expression += ", freeTo = :to"
            values[":to"] = {"S": free_to}
        if resumes:
            values[":resumes"] = number(resumes)
        return {
            "Update": {
                "TableName": self._leases,
                "Key": lease_key(shard_key(row.shard)),
                "UpdateExpression": f"{expression} REMOVE haltedAt, recentPoison",
                "ConditionExpression": f"{SAME_HALT} AND {unresumed(resumes)}",
                "ExpressionAttributeValues": values,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }


def unresumed(resumes: int) -> str:
    """Nobody has closed the circuit since it was read: else the halt of now is one that this person has not seen."""
    return "resumes = :resumes" if resumes else "attribute_not_exists(resumes)"
