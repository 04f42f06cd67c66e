"""Every clause and every rule of order that exactly-once stands on, and the seed that fails without it.

`python -m tests.simulation.guards` shows each; `--find` looks for seeds anew, after the simulation or the code changed.
"""

import argparse
import sys
from typing import Final

from tests.simulation.explained import EXPLAINED, NOT_FOUND_YET
from tests.simulation.operator_guards import OPERATOR_GUARDS
from tests.simulation.proving import Guard, find, verify

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
        7,
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
    Guard(
        "answer of this epoch",
        "worker/worker.py Worker.take: machine.lease != call.lease",
        "an answer to an earlier life of the shard here is dropped",
        "after faults heal, all drains",
        309,
        rules=("answer_of_this_epoch",),
    ),
    Guard(
        "late page",
        "worker/worker.py Worker.take and worker/reader.py Reader._still_asked",
        "a page of an earlier epoch is dropped",
        "a checkpoint never goes back",
        253,
        rules=(
            "answer_of_this_epoch",
            "page_follows_buffer",
        ),
    ),
    Guard(
        "parent first",
        "domain/lineage.py latecomers, and adopt's checkpoint = :end",
        "a child gets its row when its parent is finished",
        "a child comes after its parent",
        1,
        off=("adopt_if_finished",),
        rules=("parent_first",),
    ),
    Guard(
        "end after the last unit",
        "worker/writer.py Writer.next_call",
        "a shard is finished when its last record is committed",
        "a shard ends after its last record",
        1,
        rules=("end_after_last_unit",),
    ),
    Guard(
        "commit only while vouched for",
        "worker/pulse.py Pulse.may_commit",
        "whom others may take for dead commits nothing",
        "a silent worker commits nothing",
        0,
        rules=("commit_only_vouched",),
    ),
    Guard(
        "unread may be trimmed",
        "worker/reader.py Reader._too_old",
        "opening an old shard at its horizon tells nothing of what it lost",
        "a unit is a run of consecutive records",
        32,
        rules=("unread_may_be_trimmed",),
    ),
    Guard(
        "gone after three answers",
        "worker/absence.py Absence.proven",
        "one refusal is no proof",
        "a shard ends after its last record",
        0,
        rules=("gone_after_three_answers",),
    ),
    Guard(
        "claim raises the epoch",
        "worker/holdings.py Holdings._claim: row.epoch + 1",
        "an epoch is never used again",
        "an epoch is never used again",
        0,
        rules=("claim_raises_epoch",),
    ),
    Guard(
        "silence of a TTL",
        "domain/membership.py Observer.dead",
        "who has beaten within a TTL keeps what it has",
        "nobody living is robbed",
        0,
        rules=("silence_of_a_ttl",),
    ),
    Guard(
        "read from the horizon",
        "worker/reader.py Reader: a new row's TRIM_HORIZON",
        "a child is read from its first record",
        "a shard ends after its last record",
        3,
        rules=("children_from_horizon",),
    ),
    Guard(
        "tables belong together: birth row",
        "worker/pinning.py Pinning._refuse_mismatch and aws/leases.py DynamoLeases.pin",
        "an emptied lease table does not count 24 hours again",
        "a row is put once",
        44,
        off=("birth_if_absent",),
        rules=("tables_belong_together",),
    ),
    Guard(
        "tables belong together",
        "worker/pinning.py Pinning._refuse_mismatch",
        "whoever finds a birth row without its pin, or the reverse, refuses",
        "a lost ledger is refused",
        44,
        rules=("tables_belong_together",),
    ),
    Guard(
        "refused alone",
        "worker/attempt.py Attempt._suspect_of",
        "only a record that is refused alone can be poison",
        "only what is refused alone is poison",
        11,
        rules=("refused_alone",),
    ),
    Guard(
        "floor in every shard",
        "worker/coordinator.py Coordinator.floor_of",
        "records from before the start position do not count",
        "what ended is what the tables hold",
        11,
        rules=("floor_in_every_shard",),
    ),
    Guard(
        "claim is asked again",
        "worker/claims.py Claims.take: the same claim after Trouble",
        "a claim of which nobody knows whether it arrived does not arrive after its worker has left",
        "SIGTERM gives all leases back",
        150,
        rules=("claim_asked_again",),
    ),
    Guard(
        "accounts for its name",
        "worker/holdings.py Holdings.account",
        "children made by an end whose answer was lost are given back",
        "SIGTERM gives all leases back",
        157,
        rules=("accounts_for_its_name",),
    ),
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
