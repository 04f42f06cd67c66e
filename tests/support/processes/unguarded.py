"""`consumer` without some of its guards, for tests that must see it fail: `unguarded.py GUARD,GUARD run`."""

import secrets
import sys

from consumer.aws import commits, operator_writes, quarantine, transact
from consumer.cli.app import main

if __name__ == "__main__":
    guards = set(sys.argv.pop(1).split(",")) - {"none"}
    if "token" in guards:  # a fresh one per attempt, as botocore makes it
        transact.token_of = lambda actions: secrets.token_hex(16)  # noqa: ARG005
    if "compare-and-set" in guards:  # always true; both engines refuse a value that no expression uses
        commits.COMPARE_AND_SET = "(checkpoint = :previous OR attribute_exists(checkpoint))"  # type: ignore[misc]
    if "pending" in guards:
        quarantine.STILL_PENDING = "(#state = :pending OR attribute_exists(#state))"  # type: ignore[misc]
    if "position" in guards:
        operator_writes.POSITION = "(#position = :previous OR attribute_exists(#position))"  # type: ignore[misc]
    if "same-state" in guards:
        operator_writes.SAME_STATE = "(#state = :state OR attribute_exists(#state))"  # type: ignore[misc]
    main()
