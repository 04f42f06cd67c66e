"""A source table for a demonstration: made with its stream, and written to as a game's server would."""

from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any, Final

from consumer import retries
from consumer.aws.errors import may_pass
from consumer.aws.pages import ANSWER_SECONDS, ask
from consumer.domain.errors import Trouble, TroubleKind

BATCH_ITEMS: Final = 25
"""Most items of one BatchWriteItem. Source: its API reference."""


class DynamoSource:
    """A table of games with the key `gameId` and a stream of new images, over a boto3 client."""

    def __init__(self, client: Any, table: str, stop: Event) -> None:
        self._client = client
        self._table = table
        self._stop = stop

    def create(self) -> None:
        """Makes the table and waits until it is active. Raises Trouble."""
        ask(
            lambda: self._client.create_table(
                TableName=self._table,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": "gameId", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "gameId", "AttributeType": "S"}],
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            ),
            self._stop,
        )
        retries.persist(self._look, seconds=ANSWER_SECONDS, stop=self._stop)

    def write(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Puts up to BATCH_ITEMS items in wire form, each under a key of its own. Raises Trouble.

        What DynamoDB leaves unwritten is sent again. So is all after a lost reply: a put that changes nothing makes no
        new image of a new game.
        """
        left = [{"PutRequest": {"Item": item}} for item in items]

        def attempt() -> None:
            nonlocal left
            answer = ask(lambda: self._client.batch_write_item(RequestItems={self._table: left}), self._stop)
            left = answer.get("UnprocessedItems", {}).get(self._table, [])
            if left:
                raise Trouble(TroubleKind.THROTTLED, f"BatchWriteItem left {len(left)} items unwritten")

        retries.persist(attempt, seconds=ANSWER_SECONDS, stop=self._stop, retry_on=may_pass)

    def _look(self) -> None:
        status = ask(lambda: self._client.describe_table(TableName=self._table), self._stop)["Table"]["TableStatus"]
        if status != "ACTIVE":
            raise Trouble(TroubleKind.MISSING, f"table {self._table} is {status}")
