"""Every condition and every rule of order that exactly-once stands on, and the seed that fails without it.

`python -m tests.simulation.guards` shows that each is needed; `--find` searches for seeds again, after the simulation
or the code has changed; `--find --unproven` searches for those of `unproven.py`.
"""

import argparse
import sys
from typing import Final

from tests.simulation import switches
from tests.simulation.change_guards import CHANGE_GUARDS
from tests.simulation.correction_guards import CORRECTION_GUARDS
from tests.simulation.mark_guards import MARK_GUARDS
from tests.simulation.proving import Guard, find, verify
from tests.simulation.unproven import EXPLAINED, NOT_FOUND_YET, unproven
from tests.simulation.verify_guards import VERIFY_GUARDS

GUARDS: Final = (
    # --- conditions of workers' writes ---
    Guard(
        "previous checkpoint",
        "aws/commits.py DynamoCommits.commit: checkpoint = :previous",
        "a unit counts once, and only where the one before it ended",
        "a checkpoint never goes back",
        10,
        off=("commit_previous",),
    ),
    Guard(
        "fence of a commit",
        "aws/commits.py DynamoCommits.commit: leaseOwner = :me AND leaseEpoch = :epoch",
        "a zombie's unit does not count: the new owner reads from where it took over",
        "what is committed is not read again",
        61,
        off=("commit_owner", "commit_epoch"),
    ),
    Guard(
        "date",
        "aws/commits.py DynamoCommits.commit: lastPlayedDate <= :date",
        "a late game does not take the date back",
        "totals are the fold of the committed records",
        0,
        off=("commit_date",),
    ),
    Guard(
        "gap if absent",
        "aws/commits.py DynamoCommits.record_gap: attribute_not_exists(shardId)",
        "a late repetition does not overwrite when the gap was found and where it ended",
        "a gap row stays",
        0,
        off=("gap_if_absent",),
    ),
    Guard(
        "owner of a gap",
        "aws/commits.py DynamoCommits.record_gap: owner, epoch, checkpoint = :previous",
        "a worker that was paused does not record as lost what another one has committed",
        "a gap begins at its shard's checkpoint",
        131,
        off=("gap_owner", "gap_epoch", "gap_previous"),
    ),
    Guard(
        "previous checkpoint of an end",
        "aws/commits.py DynamoCommits.end: checkpoint = :previous",
        "a late repetition does not end a shard twice and create its children's rows again",
        "a checkpoint never goes back",
        4,
        off=("end_previous",),
    ),
    Guard(
        "epoch of a claimed row",
        "aws/leases.py DynamoLeases.claim: leaseEpoch = :epoch",
        "a late claim does not take the epoch back",
        "an epoch is never used again",
        31,
        off=("claim_epoch",),
    ),
    Guard(
        "epoch of a release",
        "aws/leases.py DynamoLeases.release: leaseEpoch = :epoch",
        "a late release does not release what the same worker has claimed again",
        "no living worker loses a lease",
        155,
        off=("release_epoch",),
    ),
    Guard(
        "stream row and binding if absent",
        "aws/leases.py DynamoLeases.record_stream_start: both conditions",
        "a stream is started once",
        "a row is created once",
        77,
        off=("binding_if_absent", "start_if_absent"),
    ),
    Guard(
        "root rows while incomplete",
        "aws/leases.py DynamoLeases.create_root_rows: pinComplete = :no",
        "a late repetition does not bring back a row that was deleted",
        "a row is created once",
        1660,
        off=("roots_while_incomplete",),
    ),
    Guard(
        "root rows if absent",
        "aws/leases.py DynamoLeases.create_root_rows: attribute_not_exists(leaseKey)",
        "a root that is read already keeps its row",
        "a row is created once",
        24,
        off=("roots_if_absent",),
    ),
    Guard(
        "adopt once",
        "aws/leases.py DynamoLeases.adopt: both conditions",
        "a shard that is found late is adopted once",
        "a row is created once",
        13,
        off=("adopt_if_absent", "adopt_unchanged"),
    ),
    Guard(
        "heartbeat only of a member",
        "aws/leases.py DynamoMembership.send_heartbeat: attribute_exists(#worker)",
        "a late heartbeat does not bring back a worker that left: shards would wait for it",
        "a worker that left stays out",
        0,
        off=("heartbeat_if_member",),
    ),
    Guard(
        "evict the silent",
        "aws/leases.py DynamoMembership.evict: the heartbeat's number is as it was read",
        "a late eviction does not take out a living worker",
        "no living worker is evicted",
        118,
        off=("evict_unchanged",),
    ),
    # --- rules of order in the workers ---
    Guard(
        "reply of this epoch",
        "worker/worker.py Worker.take",
        "a reply to an earlier epoch of the shard is dropped",
        "after faults everything drains",
        255,
        switches=(switches.reply_of_this_epoch,),
    ),
    Guard(
        "late page",
        "worker/worker.py Worker.take; worker/reader.py Reader.is_current",
        "a page of an earlier epoch is dropped",
        "a checkpoint never goes back",
        291,
        switches=(switches.reply_of_this_epoch, switches.page_follows_buffer),
    ),
    Guard(
        "parent first",
        "domain/lineage.py late_shards; aws/leases.py DynamoLeases.adopt: checkpoint = :end",
        "a child gets its row when its parent is finished",
        "a child comes after its parent",
        0,
        off=("adopt_if_finished",),
        switches=(switches.parent_first,),
    ),
    Guard(
        "end after the last unit",
        "worker/writer.py Writer.next_call",
        "a shard is finished when its last record is committed",
        "a shard ends after its last record",
        0,
        switches=(switches.end_after_last_unit,),
    ),
    Guard(
        "commit only with a heartbeat",
        "worker/worker.py Worker.may_commit",
        "a worker that others may take for dead commits nothing",
        "a silent worker commits nothing",
        1,
        switches=(switches.commit_only_with_heartbeat,),
    ),
    Guard(
        "a trimmed iterator",
        "worker/reader.py Reader.nothing_trimmed",
        "a trimmed iterator leaves a gap, unless no record can be old enough to have been trimmed",
        "after faults everything drains",
        10,
        switches=(switches.trimmed_proves_no_gap,),
    ),
    Guard(
        "unread may be trimmed",
        "worker/reader.py Reader.may_be_trimmed",
        "opening an old shard at its horizon does not show what it lost",
        "a unit is a run of consecutive records",
        50,
        switches=(switches.unread_may_be_trimmed,),
    ),
    Guard(
        "gone after three refusals",
        "domain/lineage.py GoneEvidence.stream_answered",
        "one refusal is no proof",
        "a shard ends after its last record",
        4,
        switches=(switches.gone_after_three_refusals,),
    ),
    Guard(
        "claim raises the epoch",
        "worker/lease_assignment.py Claims.add",
        "an epoch is never used again",
        "an epoch is never used again",
        0,
        switches=(switches.claim_raises_epoch,),
    ),
    Guard(
        "silence of a TTL",
        "domain/membership.py FailureDetector.dead",
        "a worker with a heartbeat within a TTL keeps its leases",
        "no living worker loses a lease",
        1,
        switches=(switches.silence_of_a_ttl,),
    ),
    Guard(
        "read from the horizon",
        "worker/writer.py child_row: TRIM_HORIZON",
        "a child is read from its first record",
        "a shard ends after its last record",
        0,
        switches=(switches.read_from_horizon,),
    ),
    Guard(
        "tables belong together: binding",
        "worker/stream_start.py refuse_foreign_tables; aws/leases.py DynamoLeases.record_stream_start",
        "an emptied lease table does not count 24 hours again",
        "a row is created once",
        43,
        off=("binding_if_absent",),
        switches=(switches.tables_belong_together,),
    ),
    Guard(
        "tables belong together",
        "worker/stream_start.py refuse_foreign_tables",
        "a worker that finds a stream's row without its binding, or the reverse, refuses to run",
        "a lost ledger is refused",
        20,
        switches=(switches.tables_belong_together,),
    ),
    Guard(
        "refused alone",
        "worker/commit_attempt.py CommitAttempt.narrow_down",
        "only a record that is refused alone can be poison",
        "only what is refused alone is poison",
        3,
        switches=(switches.refused_alone,),
    ),
    Guard(
        "table takes other games",
        "aws/commits.py DynamoCommits.examine",
        "while the leaderboard refuses the games of all players, none is to blame",
        "only what is refused alone is poison",
        55,
        off=("examine_sound",),
    ),
    Guard(
        "start time in every shard",
        "worker/coordinator.py Coordinator.start_time_for",
        "records from before the start time do not count",
        "what ended is what the tables hold",
        12,
        switches=(switches.start_time_in_every_shard,),
    ),
    Guard(
        "claim is retried",
        "worker/lease_assignment.py Claims.take: the same claim after CallFailed",
        "a claim with unknown outcome does not take effect after its worker has left",
        "SIGTERM releases all leases",
        10493,
        switches=(switches.claim_is_retried,),
    ),
    Guard(
        "begins as claimed",
        "worker/lease_assignment.py Claims.take: the row of the reply",
        "a shard begins where its row is at the claim, not where the ledger had it before",
        "what is committed is not read again",
        300097,
        switches=(switches.begins_as_claimed,),
    ),
    Guard(
        "own rows at drain",
        "worker/lease_assignment.py LeaseAssignment.claim_own_rows",
        "children created by an end whose reply was lost are released",
        "SIGTERM releases all leases",
        342,
        switches=(switches.own_rows_at_drain,),
    ),
    # --- marked writes ---
    *MARK_GUARDS,
    # --- windows, rules and their numbers ---
    *CHANGE_GUARDS,
    *VERIFY_GUARDS,
    *CORRECTION_GUARDS,
    # --- operators' commands ---
    Guard(
        "pending state of a redrive",
        "aws/quarantine.py DynamoQuarantine.apply: STILL_PENDING",
        "of two operators, two attempts and a late repetition only one counts",
        "a quarantined record is resolved once",
        24,
        off=("apply_pending",),
    ),
    Guard(
        "one acknowledgement of a gap",
        "aws/operator_writes.py DynamoGaps.acknowledge: attribute_not_exists(acknowledgedAt)",
        "of two operators and a late repetition one acknowledges a gap",
        "a gap is acknowledged once",
        3,
        off=("gap_unacknowledged",),
    ),
    Guard(
        "pending state of a discard",
        "aws/quarantine.py DynamoQuarantine.discard: STILL_PENDING",
        "a re-driven record is not discarded",
        "a quarantined record is resolved once",
        11,
        off=("discard_pending",),
    ),
    Guard(
        "token of an action",
        "aws/quarantine.py DynamoQuarantine.apply: act = :token; aws/operator_writes.py DynamoCircuits.resume",
        "an action whose reply was lost recognises itself and does not blame another operator",
        "an action recognises itself",
        30,
        off=("action_token",),
    ),
    Guard(
        "quarantine row if absent",
        "aws/commits.py DynamoCommits.commit: if_not_exists(state, :pending)",
        "after a step back a re-driven or discarded record is not pending again",
        "a quarantine row stays",
        26,
        off=("quarantine_once",),
    ),
    Guard(
        "resume of the halt that was read",
        "aws/operator_writes.py DynamoCircuits.resume: SAME_HALT, unresumed",
        "a late repetition does not close a circuit that has opened again",
        "a resume is for the halt that was read",
        30,
        off=("resume_unresumed", "resume_halted"),
    ),
    Guard(
        "the same halt",
        "aws/operator_writes.py DynamoCircuits.resume: SAME_HALT",
        "a late repetition does not close the circuit of a row that was made again",
        "a resume is for the halt that was read",
        20302,
        off=("resume_halted",),
    ),
    Guard(
        "halt decided before a resume",
        "aws/commits.py DynamoCommits.halt: resumes = :resumes",
        "a late halt does not undo what an operator has done",
        "a late halt does not undo a resume",
        128,
        off=("halt_unresumed",),
    ),
    Guard(
        "flood halts",
        "domain/breaker.py Breaker.trips",
        "a flood of poison stays outside the quarantine",
        "a flood is not quarantined",
        9,
        switches=(switches.flood_halts,),
    ),
    Guard(
        "first records halt",
        "domain/breaker.py Breaker.trips: had_game",
        "where no record was ever good, few poison ones halt the shard: a setting is wrong, or the source",
        "a flood is not quarantined",
        107,
        switches=(switches.first_records_halt,),
    ),
    Guard(
        "set if absent",
        "aws/operator_writes.py DynamoLeaseAdmin.place: attribute_not_exists(leaseKey)",
        "a late repetition does not take a row back to where it was made again",
        "a shard is placed as it was read",
        16,
        off=("place_if_absent",),
    ),
    Guard(
        "stream of a row made again",
        "aws/operator_writes.py DynamoLeaseAdmin.place: check_stream_start",
        "a late repetition does not begin a lease table that was emptied",
        "a row is created once",
        4056939,
        off=("place_if_started",),
    ),
    Guard(
        "owner of a set row",
        "aws/operator_writes.py DynamoLeaseAdmin.place: leaseOwner = :owner, or none",
        "an operator who was asked about a shard with an owner does not place one without, nor the reverse",
        "a shard is placed as it was read",
        195,
        off=("place_owner",),
    ),
    Guard(
        "epoch of a set row",
        "aws/operator_writes.py UNCHANGED: leaseEpoch = :epoch",
        "a late repetition does not take a shard back",
        "a shard is placed as it was read",
        47,
        off=("place_epoch",),
    ),
    Guard(
        "set only without a living owner",
        "operations/checkpoint.py watch_heartbeat",
        "a shard is not taken from a worker that sends heartbeats",
        "no living worker loses a lease",
        11,
        switches=(switches.set_only_without_owner,),
    ),
    Guard(
        "set raises the epoch",
        "operations/checkpoint.py moved_row: row.epoch + 1",
        "the earlier owner of the shard is fenced off",
        "an epoch is never used again",
        3,
        switches=(switches.set_raises_epoch,),
    ),
    Guard(
        "epoch of a row made again",
        "operations/checkpoint.py recreated_row: the seconds since 1970",
        "it is above all earlier epochs, which nothing stores any more",
        "an epoch is never used again",
        16,
        switches=(switches.recreated_above_all_epochs,),
    ),
    Guard(
        "stream row of an adopted stream",
        "aws/operator_writes.py DynamoTableBindings.change_binding: check_stream_start",
        "a late repetition does not take the binding from a stream that has been started again",
        "what is adopted is what was read",
        3027,
        off=("binding_start_unchanged",),
    ),
    Guard(
        "binding of an adopted stream",
        "aws/operator_writes.py DynamoTableBindings.change_binding: as it was read",
        "what another operator or a worker has written since is not overwritten unseen",
        "what is adopted is what was read",
        325,
        off=("binding_unchanged",),
    ),
    Guard(
        "position of a replay",
        "aws/operator_writes.py DynamoReplays.count: POSITION",
        "a batch counts only where the one before it ended, once",
        "a replay counts a record once",
        24,
        off=("replay_position",),
    ),
    Guard(
        "progress row as it was read",
        "aws/operator_writes.py DynamoReplays.put: no row, or runner = :me AND position = :previous",
        "a replay that begins, takes over or ends late does not take the row back",
        "a replay counts a record once",
        34,
        off=("replay_put",),
    ),
    Guard(
        "overlap is refused",
        "operations/replay_plan.py progress_of: a part of the range was counted again before",
        "no range is counted a third time without --again",
        "a replay counts a record once",
        56,
        switches=(switches.overlap_is_refused,),
    ),
    Guard(
        "state of a quarantine row",
        "aws/operator_writes.py DynamoReplays.count: SAME_STATE",
        "a record that was re-driven or discarded since counts as its row says now",
        "a replay counts as the quarantine rows say",
        5399,
        off=("replay_state",),
    ),
)
"""`invariant` is the one that broke first when the seed was found."""


def main() -> int:
    """Exit code 1 when a guard is not shown to be needed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.guards", description=__doc__)
    parser.add_argument("--find", action="store_true", help="search for the first seed of each guard")
    parser.add_argument("--unproven", action="store_true", help="with --find: guards that have no seed yet")
    parser.add_argument("--base", type=int, default=0, help="the first seed to try")
    parser.add_argument("--seeds", type=int, default=20_000, help="how many to try")
    parser.add_argument("--seconds", type=float, default=120, help="how long to search per guard")
    parser.add_argument("--only", default="", help="guards whose names contain one of these, separated by commas")
    given = parser.parse_args()
    all_guards = unproven() if given.unproven else GUARDS
    guards = [guard for guard in all_guards if any(name in guard.name for name in given.only.split(","))]
    if given.find:
        seeds = range(given.base, given.base + given.seeds)
        for found in find(guards, seeds, given.seconds):
            print(f"{found.guard.name} | {found.seed} | {found.violation or 'nothing breaks'}", flush=True)
        return 0
    failed = 0
    for guard, fault in verify(guards):
        print(f"{guard.name:32} {guard.seed:6}  {guard.invariant}  ({guard.where})")
        if fault is not None:
            failed += 1
            print(f"   !! {fault}")
    for title, reasons in (("explained", EXPLAINED), ("not found yet", NOT_FOUND_YET)):
        for name, reason in reasons.items():
            print(f"{title}: {name}: {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
