"""The service's error replies."""

import json
from typing import Any

_NAMESPACE = "com.amazonaws.dynamodb.v20120810#"


class Refusal(Exception):
    """An error reply: its code as AWS writes it, a sentence, and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400, **more: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self._more = more

    @property
    def body(self) -> bytes:
        """The document of the reply."""
        return json.dumps({"__type": _NAMESPACE + self.code, "message": self.message, **self._more}).encode()


def invalid(message: str) -> Refusal:
    """A request that can never be served."""
    return Refusal("ValidationException", message)


def not_found(message: str) -> Refusal:
    """A table, stream or shard that does not exist."""
    return Refusal("ResourceNotFoundException", message)


def trimmed() -> Refusal:
    """The position is before the trim point."""
    return Refusal(
        "TrimmedDataAccessException",
        "The operation attempted to read past the oldest stream record in a shard.",
    )


def failure() -> Refusal:
    """A 500."""
    return Refusal("InternalServerError", "Internal server error", 500)


def cancelled(codes: list[str], messages: dict[str, str]) -> Refusal:
    """A transaction that was cancelled, with one reason per action in the order of the request."""
    reasons = [{"Code": code, **({"Message": messages[code]} if code in messages else {})} for code in codes]
    sentence = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
    return Refusal("TransactionCanceledException", sentence, Message=sentence, CancellationReasons=reasons)
