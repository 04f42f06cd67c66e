"""The one builder of transactions, and what the answer to one means.

Every transaction advances a row under a condition and may add deltas and puts. Its client token is the hash of it
all: the same content repeated is the same request to DynamoDB, other content is another one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from consumer.aws.errors import KIND_OF_CODE, code_of, reasons_of, translated
from consumer.aws.notation import write
from consumer.domain.errors import Trouble, TroubleKind

Action = dict[str, Any]

CONDITION_FAILED: Final = "ConditionalCheckFailed"
INVALID: Final = "ValidationError"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nothing was written. `failed`: index of an action whose condition failed -> the item as it is (None: no item).

    `invalid`: what the database refuses for ever; `invalid_at`: the actions it names for that, often none.
    """

    failed: Mapping[int, Mapping[str, Any] | None]
    conflict: bool
    invalid: str | None
    invalid_at: frozenset[int] = frozenset()

    def only_conditions(self) -> None:
        """Raises Trouble unless conditions failed: for anything else the same is asked again."""
        if self.failed:
            return
        kind = TroubleKind.CONFLICT if self.conflict else TroubleKind.REJECTED
        raise Trouble(kind, self.invalid or "another transaction holds a row of this one")


def transact(client: Any, actions: list[Action]) -> Cancelled | None:
    """Writes all of `actions` or nothing; None when they are written.

    Raises Trouble when that is open, or when it is nothing but infrastructure (throttling, permissions).
    """
    token = token_of(actions)
    with translated():
        try:
            client.transact_write_items(TransactItems=actions, ClientRequestToken=token)
        except ClientError as error:
            match code_of(error):
                case "TransactionCanceledException":
                    return _cancelled(error)
                case "ValidationException":
                    return Cancelled({}, conflict=False, invalid=str(error.response["Error"].get("Message", "")))
            raise
    return None


def token_of(actions: list[Action]) -> str:
    """A token (at most 36 characters) from the content: sent again with other content it would be an error."""
    return hashlib.sha256(write(actions, sort_keys=True)).hexdigest()[:32]


def _cancelled(error: ClientError) -> Cancelled:
    """Reasons come by index. A failed condition is told before trouble elsewhere in the same transaction."""
    reasons = error.response.get("CancellationReasons", [])
    codes = reasons_of(error)
    failed = {index: reasons[index].get("Item") for index, code in enumerate(codes) if code == CONDITION_FAILED}
    invalid = next((reason.get("Message", INVALID) for reason in reasons if reason.get("Code") == INVALID), None)
    kinds = {KIND_OF_CODE.get(code) for code in codes}
    if failed or invalid is not None or TroubleKind.CONFLICT in kinds:
        invalid_at = frozenset(index for index, code in enumerate(codes) if code == INVALID)
        return Cancelled(failed, TroubleKind.CONFLICT in kinds, invalid, invalid_at)
    kind = next((kind for kind in kinds if kind is not None), TroubleKind.SERVER)
    raise Trouble(kind, f"TransactWriteItems: cancelled: {', '.join(sorted(set(codes)))}") from error
