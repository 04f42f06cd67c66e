"""The `members` item of the lease table: who beats, and a count of changes."""

from typing import Any

from consumer.aws.errors import translated
from consumer.aws.items import MEMBERS_KEY, WORKER_PREFIX, lease_key, members_of, number, vouch_value
from consumer.aws.transaction import Action
from consumer.aws.update import update
from consumer.domain.leases import Members, Vouch
from consumer.domain.outcomes import Done, Removed


class DynamoMembership:
    """The Membership port over a boto3 client."""

    def __init__(self, client: Any, leases: str) -> None:
        self._client = client
        self._leases = leases

    def beat(self, owner: str, vouch: Vouch, *, joining: bool, bump: bool) -> Done | Removed:
        """One UpdateItem. Only a joining beat may put the worker in: a late one must not bring it back."""
        failed = self._update(
            owner,
            "SET #worker = :vouch" + (" ADD changes :one" if bump else ""),
            None if joining else "attribute_exists(#worker)",
            {":vouch": vouch_value(vouch)} | ({":one": number(1)} if bump else {}),
        )
        return Removed() if failed else Done()

    @translated()
    def look(self) -> Members:
        """One consistent read."""
        answer = self._client.get_item(TableName=self._leases, Key=lease_key(MEMBERS_KEY), ConsistentRead=True)
        return members_of(answer.get("Item", {}))

    def leave(self, owner: str) -> Done:
        """Takes the worker out, once."""
        self._take_out(owner, "attribute_exists(#worker)", {})
        return Done()

    def bury(self, owner: str, beat: int) -> Done:
        """Takes a worker out if it has not beaten since."""
        self._take_out(owner, "#worker.beat = :beat", {":beat": number(beat)})
        return Done()

    def _take_out(self, owner: str, condition: str, values: dict[str, Any]) -> None:
        self._update(owner, "REMOVE #worker ADD changes :one", condition, {":one": number(1), **values})

    def _update(self, owner: str, expression: str, condition: str | None, values: dict[str, Any]) -> bool:
        """Whether the condition failed."""
        names = {"#worker": WORKER_PREFIX + owner}
        failed, _ = update(
            self._client, self._leases, MEMBERS_KEY, expression, condition, values, names, returning=False
        )
        return failed


def bump(leases: str) -> Action:
    """Part of a person's act: workers read the ledger when the counter has changed."""
    return {
        "Update": {
            "TableName": leases,
            "Key": lease_key(MEMBERS_KEY),
            "UpdateExpression": "ADD changes :one",
            "ExpressionAttributeValues": {":one": number(1)},
        }
    }
