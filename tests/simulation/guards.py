"""Every clause and every rule of order that exactly-once stands on, and the seed that fails without it.

`python -m tests.simulation.guards` shows each; `--find` looks for seeds anew, after the simulation or the code changed.
"""

import argparse
import sys
from typing import Final

from tests.simulation.explained import EXPLAINED, NOT_FOUND_YET
from tests.simulation.operator_guards import OPERATOR_GUARDS
from tests.simulation.proving import Guard, find, verify
from tests.simulation.worker_guards import WORKER_GUARDS

GUARDS: Final = (
    Guard(
        "previous checkpoint",
        "aws/commit.py DynamoCommits.commit: checkpoint = :previous",
        "a unit counts once, and only where the one before it ended",
        "a checkpoint never goes back",
        5,
        off=("commit_previous",),
    ),
    Guard(
        "fence of a commit",
        "aws/commit.py DynamoCommits.commit: leaseOwner = :me AND leaseEpoch = :epoch",
        "a zombie's unit does not count: the new holder reads from where it took over",
        "what is committed is not read again",
        182,
        off=(
            "commit_owner",
            "commit_epoch",
        ),
    ),
    Guard(
        "date",
        "aws/commit.py DynamoCommits.commit: lastPlayedDate <= :date",
        "a late game does not take the date back",
        "totals are the fold of the committed records",
        0,
        off=("commit_date",),
    ),
    Guard(
        "gap if absent",
        "aws/commit.py DynamoCommits.record_gap: attribute_not_exists(shardId)",
        "a late repetition does not wipe when the gap was found and where it ended",
        "a gap row stays",
        0,
        off=("gap_if_absent",),
    ),
    Guard(
        "holder of a gap",
        "aws/commit.py DynamoCommits.record_gap: owner, epoch, checkpoint = :previous",
        "a worker that was paused does not miss what another one has long committed",
        "a gap is where its shard stands",
        229,
        off=("gap_owner", "gap_epoch", "gap_previous"),
    ),
    Guard(
        "previous checkpoint of an end",
        "aws/commit.py DynamoCommits.end: checkpoint = :previous",
        "a late repetition does not end a shard twice, and make its children's rows anew",
        "a checkpoint never goes back",
        1,
        off=("end_previous",),
    ),
    Guard(
        "epoch of a claimed row",
        "aws/leases.py DynamoLeases.claim: leaseEpoch = :epoch",
        "a late claim does not take the epoch back",
        "an epoch is never used again",
        16,
        off=("claim_epoch",),
    ),
    Guard(
        "epoch of a release",
        "aws/leases.py DynamoLeases.release: leaseEpoch = :epoch",
        "a late release does not give back what the same worker has claimed again",
        "nobody living is robbed",
        74,
        off=("release_epoch",),
    ),
    Guard(
        "birth row if absent",
        "aws/leases.py DynamoLeases.pin: attribute_not_exists(shardId)",
        "a late repetition does not pin a stream again whose ledger was lost",
        "a lost ledger is refused",
        56,
        off=("birth_if_absent",),
    ),
    Guard(
        "pin and birth row if absent",
        "aws/leases.py DynamoLeases.pin: both conditions",
        "a stream is pinned once",
        "a row is put once",
        52,
        off=(
            "birth_if_absent",
            "pin_if_absent",
        ),
    ),
    Guard(
        "plant while incomplete",
        "aws/leases.py DynamoLeases.plant: pinComplete = :no",
        "a late repetition does not bring back a row that was deleted",
        "a row is put once",
        841,
        off=("plant_while_incomplete",),
    ),
    Guard(
        "plant if absent",
        "aws/leases.py DynamoLeases.plant: attribute_not_exists(leaseKey)",
        "a root that is read already keeps its row",
        "a row is put once",
        96,
        off=("plant_if_absent",),
    ),
    Guard(
        "adopt once",
        "aws/leases.py DynamoLeases.adopt: both conditions",
        "a shard that is found late is counted in once",
        "a row is put once",
        9,
        off=(
            "adopt_if_absent",
            "adopt_unchanged",
        ),
    ),
    Guard(
        "beat only as a member",
        "aws/membership.py DynamoMembership.beat: attribute_exists(#worker)",
        "a late beat does not bring back who has left: shards would wait for it",
        "who has left stays out",
        0,
        off=("beat_if_member",),
    ),
    Guard(
        "bury who has not beaten",
        "aws/membership.py DynamoMembership.bury: #worker.beat = :beat",
        "a late burial does not take out who lives",
        "nobody living is buried",
        75,
        off=("bury_unchanged",),
    ),
    *WORKER_GUARDS,
    *OPERATOR_GUARDS,
)
"""`invariant` is what broke first when the seed was found."""


def main() -> int:
    """Exit code 1 when a guard is not shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.guards", description=__doc__)
    parser.add_argument("--find", action="store_true", help="look for the first seed of each guard")
    parser.add_argument("--base", type=int, default=0, help="the first seed to look at")
    parser.add_argument("--seeds", type=int, default=20_000, help="how many to look at")
    parser.add_argument("--seconds", type=float, default=120, help="how long to look, a guard")
    parser.add_argument("--only", default="", help="guards whose names contain one of these, with commas between")
    given = parser.parse_args()
    guards = [guard for guard in GUARDS if any(name in guard.name for name in given.only.split(","))]
    if given.find:
        seeds = range(given.base, given.base + given.seeds)
        for found in find(guards, seeds, given.seconds):
            print(f"{found.guard.name} | {found.seed} | {found.violation or 'nothing breaks'}", flush=True)
        return 0
    failed = 0
    for guard, fault in verify(guards):
        print(f"{guard.name:32} {guard.seed:6}  {guard.invariant}  ({guard.stands})")
        if fault is not None:
            failed += 1
            print(f"   !! {fault}")
    for title, reasons in (("explained", EXPLAINED), ("not found yet", NOT_FOUND_YET)):
        for name, reason in reasons.items():
            print(f"{title}: {name}: {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
