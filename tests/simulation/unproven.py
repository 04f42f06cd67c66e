"""Conditions and rules of order without a seed, and why they are there all the same (see FakeTables and switches)."""

from collections.abc import Iterator
from typing import Final

from tests.simulation.proving import Guard
from tests.simulation.switches import SWITCHES

EXPLAINED: Final[dict[str, str]] = {
    "commit_epoch": (
        "the owner is new at each start, and the previous checkpoint stops a repetition: alone it matters only for an "
        "attempt of the same worker's earlier epoch. Without epoch and owner a seed breaks (fence of a commit)"
    ),
    "commit_owner, end_owner, release_owner": (
        "an epoch is never used again, so the owner beside it decides nothing here. Operators read it, and it holds if "
        "an epoch comes back with a restored lease table"
    ),
    "claim_owner": "as the owner of a commit; the epoch beside it has a seed",
    "end_epoch": (
        "a worker that ends a shard has committed its last record, so every worker would write the same end; the "
        "previous checkpoint lets it be written once"
    ),
    "end_if_absent": (
        "a child is adopted only into a finished parent, and `checkpoint set` makes only rows that a list names, so no "
        "child has a row before its parent's end"
    ),
    "binding_if_absent": (
        "a late repetition of the first start also finds the rules that it has recorded, and other starts are refused "
        "before they write: with that check off a seed breaks (tables belong together: binding)"
    ),
    "start_if_absent": (
        "the binding's condition stands in for it; without both a seed breaks (stream row and binding if absent)"
    ),
    "start_rules": (
        "no second source table is simulated, and of two first sets of rules the stream's row lets one be first: "
        "tests/unit/test_two_sources.py runs two starts in every order, and one breaks without it"
    ),
    "complete_if_started": "needs an emptied lease table and a late complete_stream_start: found in no search yet",
    "adopt_unchanged, adopt_if_absent": "one stands in for the other; without both a seed breaks (adopt once)",
    "adopt_if_finished": (
        "shard sync proposes only finished parents, and a finished row stays finished; it has a seed with parent first"
    ),
    "adopt_if_complete": "shard sync proposes nothing before the stream start is complete, and it stays complete",
    "mark_finished, mark_first, mark_unchanged": (
        "a wrong mark only delays or prevents forgetting a row: forgetting has its own conditions"
    ),
    "forget_finished": "a finished row stays finished; `checkpoint set` refuses it",
    "forget_unchanged, forget_roots_unchanged": (
        "a late child has its own row, so only the list is lost by which its deletion by hand would be noticed"
    ),
    "forget_noted": (
        "needs a shard that is listed again days after it was forgotten, and a late repetition: found in no search "
        "yet; the probe before an adoption stands in for it"
    ),
    "resume_unresumed": (
        "the time of the halt stands in for it, as far as workers' clocks are right; without both a seed breaks "
        "(resume of the halt that was read)"
    ),
    "restore_discarded": (
        "a restore reads the record again where corrections count, and is not simulated elsewhere: "
        "tests/contract/test_restore.py shows what each clause refuses"
    ),
    "restore_item": (
        "a restore counts nothing, and a record that is not its item's last one is superseded, or kept in its head: a "
        "re-drive of what was restored has its own conditions. The model is exact without it, too"
    ),
    "item_head_unchanged": (
        "a re-drive changes the index row with the head, and a discarded record is superseded as a pending one is: "
        "only a head that has expired meanwhile would come back as a row without a record"
    ),
    "halt_owner, halt_epoch, halt_previous": (
        "the next owner of the shard meets the same flood at the same checkpoint; after a resume or a set the "
        "condition on `resumes` stops a late halt"
    ),
    "gap_exists": "no gap row is deleted in the simulation; contract tests show that none is made again",
    "old_row_unchanged": (
        "`init` is not simulated: it changes no state, and a count of pending records looks at the state"
    ),
    "leave: attribute_exists": "only the counter of changes would be raised once more",
    "unit_is_retried_unchanged": (
        "another unit after an unknown outcome is stopped by the previous checkpoint, and read again; the request "
        "token demands the same unit, and the fakes have no tokens"
    ),
    "unit_fixed_when_cut": "the checkpoint changes only by a commit or a rewind, and both forget the unit",
    "release_after_commit": (
        "after a release the row has no owner, so an attempt in flight fails; the rule spares the next owner nothing "
        "but the records of that attempt"
    ),
    "unit_follows_a_move": (
        "with the checkpoint of before the move a unit is refused, and its shard read again: nothing is counted twice"
    ),
    "epoch_starts_at_seconds": (
        "the first epoch of a shard may be any; only a row made again must start above all earlier ones, which has a "
        "seed (epoch of a row made again)"
    ),
    "observes_again_after_hole": (
        "a silent worker may be taken for dead at any time, the fence holds; the rule spares moves after all workers "
        "were paused together"
    ),
    "tip_is_proven": (
        "decides what lag is shown and how often a shard is polled; nothing is written by it. What children's rows say "
        "comes from a long run of empty pages either way"
    ),
    "row_shard, marked_shard": (
        "a number says something only within its shard, and no source says that two shards have no number in common; "
        "in the simulation they have none, so the number beside the shard decides. A contract test writes with the "
        "right number and another shard"
    ),
    "first_mark_in_transaction": (
        "a row gets its first mark once, and everything that counts on a keyed stream sets one: a single write would "
        "be exact too, here and in the model; the transaction costs twice as much, once per player of an old board"
    ),
    "workers of another protocol": (
        "no worker of version 0.1 is simulated: it cannot parse the row of a stream after the upgrade, which unit and "
        "process tests show. A stream that it has started, and its successor, are simulated"
    ),
    "player locks": "for speed: units that share a player conflict, and are retried",
}
"""No seed needs them."""

NOT_FOUND_YET: Final[dict[str, str]] = {
    "page_follows_buffer, buffer_is_dropped": (
        "a rewind needs an earlier, larger attempt that comes late after the unit was cut smaller: rare. Without both "
        "checks of a page a seed breaks (late page)"
    ),
    "gap_filled_once": (
        "needs `checkpoint set` back to the checkpoint of a gap, and a trim between the two units that fill it"
    ),
    "gap_row_first": "the unit that fills the gap writes the row too, so it is missing only where no record follows",
    "place_checkpoint": (
        "needs a crashed worker's late unit between the operator's last read and the write; the epoch stays then"
    ),
    "replay_runner": (
        "the position beside it stops a replay that was overtaken, unless the position has not moved since: needs a "
        "crash between the new runner's row and its first batch, and a late batch of the one before"
    ),
    "plan_after_load": "a claim from a worker that has just joined needs two reads that cross within milliseconds",
    "shared_shard": (
        "needs an owner ahead of its checkpoint after a take-over, and a next one whose views of row and ledger are "
        "both older: a scenario of test_mark_scenarios.py. Some 900 runs of old_views.py had none"
    ),
    "one_end_of_a_unit": (
        "needs a rewind while single writes are in flight, and a late reply to one while the checkpoint moves over "
        "the same records, read again: an order of tests/unit/test_lazy_checkpoint_orders.py"
    ),
    "unsaved_is_forgotten": (
        "needs a rewind to a place behind what has ended since, by an earlier, larger attempt: an order of "
        "tests/unit/test_lazy_checkpoint_orders.py"
    ),
    "highest_rows_first": (
        "needs a worker that keeps shards of a lower number than its own, beside two of its own number, and another "
        "worker that may have them: what is claimed gets the higher number, which the other may not work. "
        "A scenario of test_change_scenarios.py"
    ),
    "margin_of_a_day": (
        "needs a game with a bare date, a day ahead, that the owner before a claim has read, in a zone far behind UTC: "
        "a scenario of test_change_scenarios.py"
    ),
    "expired_for_two_days": (
        "needs an operator whose clock is a day ahead, and a record of the oldest window on its last day: "
        "a scenario of test_change_scenarios.py"
    ),
    "apply_item": (
        "the state of the record stands in for it, unless its life ends between the command's read and its write: a "
        "scenario of test_correction_scenarios.py"
    ),
    "found_under_the_mark": (
        "needs a zombie that has looked an item up before the owner's row refused the item's record, and writes after "
        "that: a scenario of test_correction_scenarios.py"
    ),
    "unreadable_in_the_transaction": (
        "needs a zombie of older rules whose unit begins with a record that a newer owner has counted, and that knows "
        "the owner's mark before it cuts: a scenario of test_correction_scenarios.py"
    ),
    "root_is_read_as_the_others": (
        "needs a stream that is switched on again between two sets of rules, and old rows that are forgotten soon: "
        "tests/unit/test_rule_numbers.py shows what a root begins with"
    ),
    "probe_before_adoption": "needs a listing older than FORGET_SECONDS of a shard without known relatives",
}
"""Believed to be needed; searches of some 500 seeds found none. `guards --find --unproven` searches on."""

OF_KEYED_RUNS: Final = frozenset(
    (
        "row_shard",
        "marked_shard",
        "first_mark_in_transaction",
        "shared_shard",
        "unit_follows_a_move",
        "one_end_of_a_unit",
        "unsaved_is_forgotten",
        "found_under_the_mark",
        "unreadable_in_the_transaction",
    )
)

OF_CORRECTING_RUNS: Final = frozenset(
    ("apply_item", "restore_item", "item_head_unchanged", "found_under_the_mark", "unreadable_in_the_transaction")
)

OF_CHANGING_RUNS: Final = frozenset(
    ("highest_rows_first", "margin_of_a_day", "expired_for_two_days", "root_is_read_as_the_others")
)


def unproven() -> Iterator[Guard]:
    """Each condition and switch of both lists as a guard, for a search: any invariant that breaks is a find."""
    for names in (*EXPLAINED, *NOT_FOUND_YET):
        for name in names.split(", "):
            if name in SWITCHES:
                switch = SWITCHES[name]
                yield Guard(
                    name,
                    "",
                    switch.sentence,
                    "",
                    0,
                    switches=(switch,),
                    keyed=name in OF_KEYED_RUNS,
                    changing=name in OF_CHANGING_RUNS,
                    correcting=name in OF_CORRECTING_RUNS,
                )
            elif name.isidentifier():
                correcting = name in OF_CORRECTING_RUNS
                yield Guard(name, "", "", "", 0, off=(name,), keyed=name in OF_KEYED_RUNS, correcting=correcting)
