"""Every known way in which a subject differs from AWS, written down once. A test that uses one shows that it is so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """`subjects` behave otherwise than AWS: why, and how."""

    subjects: frozenset[str]
    reason: str


FORGETS_TOKENS = Difference(
    frozenset({"fakes"}),
    "A client token hides a missing guard for ten minutes: the simulation must find it at once.",
)

ROUNDS_SUMS = Difference(frozenset({"ministack"}), "`ADD` rounds a sum at 28 digits and never overflows.")
