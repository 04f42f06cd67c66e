"""Birth rows as a person amends them: each in one transaction with its audit row and a look at the pin."""

from typing import Any

from consumer.aws.adapters import OperatorAdapter
from consumer.aws.audit import audit_put
from consumer.aws.errors import translated
from consumer.aws.items import BIRTH, birth_item, birth_key, birth_row, pin_check
from consumer.aws.pages import ask, partition
from consumer.aws.transaction import Action, transact
from consumer.domain.audit import Trace
from consumer.domain.leases import Amendment, Birth
from consumer.domain.outcomes import Done, Lost


class DynamoBirths(OperatorAdapter):
    """The Births port over a boto3 client; calls that must be tried again wait on `stop`."""

    @translated()
    def births(self) -> tuple[Birth, ...]:
        """One partition; see operator_ports.Births."""
        return tuple(map(birth_row, partition(self._client, self._stop, self._quarantine, BIRTH)))

    def amend(self, amendment: Amendment, trace: Trace) -> Done | Lost:
        """See operator_ports.Births. A repetition after a lost answer is the same request to DynamoDB."""
        # A worker may have begun in the meantime, or the table may have been restored.
        pin = pin_check(self._leases, amendment.stream_arn, pinned=amendment.pinned)
        actions = [self._birth(amendment), pin, audit_put(self._quarantine, trace)]

        def write() -> Done | Lost:
            cancelled = transact(self._client, actions)
            if cancelled is None:
                return Done()
            cancelled.only_conditions()
            return Lost(None)

        return ask(write, self._stop)

    def _birth(self, amendment: Amendment) -> Action:
        """Under the condition that it is as it was read."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(shardId)"}
        if (before := amendment.before) is not None:
            condition = {
                "ConditionExpression": "leaseTable = :lease AND leaderboardTable = :leaderboard",
                "ExpressionAttributeValues": {
                    ":lease": {"S": before.lease_table},
                    ":leaderboard": {"S": before.leaderboard_table},
                },
            }
        if amendment.after is None:
            return {"Delete": {"TableName": self._quarantine, "Key": birth_key(amendment.stream_arn), **condition}}
        return {"Put": {"TableName": self._quarantine, "Item": birth_item(amendment.after), **condition}}
