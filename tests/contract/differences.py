"""Every known difference between a subject and AWS. The tests that use one prove it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """How `subjects` differ from AWS, and why."""

    subjects: frozenset[str]
    reason: str


FORGETS_TOKENS = Difference(
    frozenset({"fakes"}),
    "A client token hides a missing guard for ten minutes: the simulation must find it at once.",
)

ROUNDS_SUMS = Difference(
    frozenset({"ministack"}),
    "`ADD`, and a sum in a statement, are rounded at 28 digits and never overflow. A sum in a statement may leave the "
    "range of a number.",
)
NAMES_NO_SUSPECT = Difference(
    frozenset({"fakes", "dynamodb-local"}),
    "An update of a wrong-typed or overflowing number is a plain ValidationException, which names no action. "
    "The fakes do as DynamoDB Local: it is the harder case.",
)
TAKES_LONG_KEYS = Difference(
    frozenset({"fakes", "ministack"}),
    "They accept a partition key longer than 2,048 bytes. Decoding quarantines such a record.",
)
IGNORES_LATE_INDEXES = Difference(
    frozenset({"dynamodb-local"}), "It does not compare what is written with the key types of an index added later."
)
NO_RECOVERY = Difference(
    frozenset({"dynamodb-local"}), "Point-in-time recovery is an UnknownOperationException; `init` notes it."
)
LOSES_EMPTY_MAPS = Difference(
    frozenset({"dynamodb-local"}), "An empty map inside a list comes out of the stream as {}, without its type tag."
)
