"""Clauses and rules without a seed, and why they are there all the same (see FakeTables and mutations)."""

from typing import Final

EXPLAINED: Final[dict[str, str]] = {
    "commit_epoch": (
        "the owner is fresh at each start and the previous checkpoint stops a repetition: it matters "
        "alone only for an attempt of the same worker's earlier epoch. Without epoch and owner a seed "
        "breaks (fence of a commit)"
    ),
    "end_epoch": (
        "whoever ends a shard has committed its last record, and so says what any other would; the "
        "previous checkpoint lets it be said once"
    ),
    "end_if_absent": (
        "a child is adopted only into a finished parent, and `checkpoint set` makes only rows that a list knows, so "
        "none has a row before its parent's end"
    ),
    "complete_if_there": (
        "matters when the lease table was emptied and a CompletePin comes late: found in no search yet"
    ),
    "adopt_unchanged, adopt_if_absent": ("one stands in for the other; without both a seed breaks (adopt once)"),
    "adopt_if_finished": (
        "a survey proposes finished parents only, and a finished row stays so; shown with parent first"
    ),
    "adopt_if_pinned": ("a survey proposes nothing before the pin is complete, and it stays so"),
    "mark_finished, mark_first, mark_unchanged": (
        "a wrong note only makes a row be forgotten later or not at all: forgetting asks for its own conditions"
    ),
    "forget_finished": ("a finished row stays so, `checkpoint set` refuses it"),
    "resume_unresumed": (
        "the moment of the halt stands in for it, and is only as good as workers' clocks; without both a seed breaks "
        "(resume of the halt that was seen)"
    ),
    "halt_owner, halt_epoch, halt_previous": (
        "who takes a shard over meets the same flood at the same checkpoint; after a resume or a set the condition on "
        "`resumes` stops a late halt"
    ),
    "forget_unchanged, forget_roots_unchanged": (
        "a late child has its own row, so only the list is lost by which its deletion by hand would be noticed"
    ),
    "forget_noted": (
        "needs a shard that is shown again after it was forgotten for days, and a late repetition: found "
        "in no search yet; the probe before an adoption stands in for it"
    ),
    "leave: attribute_exists": ("only the counter of changes would be raised once more"),
    "same_unit_again": (
        "another unit after an open answer is caught by the previous checkpoint, and read again; the "
        "token demands it, and tokens do not exist here"
    ),
    "release_after_commit": (
        "after a release the row has no owner, so an attempt still under way fails; the rule spares the "
        "next owner nothing but the records of that attempt"
    ),
    "epoch_starts_at_seconds": (
        "the first epoch of a shard may be any; what counts is that a row made again starts above all before, which is "
        "shown (epoch of a row made again)"
    ),
    "observes_anew_after_hole": (
        "who is silent may be taken for dead at any time, the fence holds; the rule spares moves after "
        "all workers were paused together"
    ),
    "unit_fixed_when_cut": ("the checkpoint changes only by a commit or a rewind, and both forget the unit"),
    "turns": ("for speed: units that share a player conflict, and are tried again"),
    "pin_if_absent": (
        "the birth row's condition stands in for it; without both a seed breaks (pin and birth row if absent)"
    ),
    "claim_owner": ("see the owner of a commit; the epoch beside it is shown"),
    "commit_owner, end_owner, release_owner": (
        "an epoch is never used again, so the owner beside it decides nothing here. It is what a person "
        "reads, and holds if an epoch comes back with a restored lease table"
    ),
}
"""No seed needs them."""

NOT_FOUND_YET: Final[dict[str, str]] = {
    "page_follows_buffer, buffer_is_thrown_away": (
        "a rewind needs an earlier, larger attempt that comes late after the unit was cut smaller: rare. "
        "Without both checks of a page a seed breaks (late page)"
    ),
    "gap_filled_once": (
        "needs `checkpoint set` back to the very checkpoint of a gap, and a trim between the two units that fill it"
    ),
    "place_checkpoint": (
        "needs a crashed worker's late unit between a person's last look and the write; the epoch stays then"
    ),
    "replay_runner": (
        "the position beside it stops who was overtaken, but where it stands still since: needs a crash between the "
        "new runner's row and its first batch, and a late batch of the one before"
    ),
    "gap_row_first": ("the unit that fills the gap writes the row too, so it is missing only where no record follows"),
    "plan_after_load": ("a claim from who has joined since needs the two reads to cross within milliseconds"),
    "probe_before_adoption": ("needs a listing older than FORGET_SECONDS of a shard without known relatives"),
    "begins_as_claimed": ("needs a commit between the load and the claim; then the previous checkpoint catches it"),
}
"""Believed to be needed; searches of some 500 seeds found none: `guards --find` goes on."""
