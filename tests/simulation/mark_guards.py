"""The guards of marked writes: conditions of rows and rules of their order, in keyed runs."""

from typing import Final

from tests.simulation import switches
from tests.simulation.proving import Guard

ADDS: Final = "a row write adds the player's games up to its mark"
PASSES: Final = "what the checkpoint passes has ended"
LOST: Final = "nothing is lost silently"

MARK_GUARDS: Final = (
    Guard(
        "mark of a single write",
        "aws/board.py SAME_MARK: appliedTo = :foundTo",
        "a single write that comes late, or twice, changes nothing",
        ADDS,
        0,
        off=("row_to",),
        keyed=True,
    ),
    Guard(
        "row if absent",
        "aws/board.py NO_ROW: attribute_not_exists(playerId)",
        "a row is made once",
        ADDS,
        2,
        off=("insert_no_row",),
        keyed=True,
    ),
    Guard(
        "fresh without a mark",
        "aws/board.py NO_MARK: attribute_not_exists(appliedShard)",
        "a row that got a mark since it was read is not marked again",
        ADDS,
        0,
        off=("fresh_no_mark",),
        keyed=True,
    ),
    Guard(
        "mark in a transaction",
        "aws/board.py SAME_MARK: appliedTo = :foundTo",
        "what a single write has counted meanwhile is not counted again by a transaction",
        "a record ends once",
        261,
        off=("marked_to",),
        keyed=True,
    ),
    Guard(
        "rows before the checkpoint",
        "worker/commit_attempt.py CommitAttempt.rows_settled",
        "the checkpoint passes a unit when each of its single writes has a definite reply",
        PASSES,
        0,
        switches=(switches.rows_before_checkpoint,),
        keyed=True,
    ),
    Guard(
        "cut again after a refusal",
        "worker/row_writes.py RowWrites.take",
        "a refused write is routed again by the mark that was found",
        PASSES,
        5,
        switches=(switches.cut_again_after_refusal,),
        keyed=True,
    ),
    Guard(
        "poison takes its player",
        "worker/row_writes.py RowWrites.write",
        "good games, quarantine row and mark of a player with poison go in one step",
        LOST,
        0,
        switches=(switches.poison_takes_its_player,),
        keyed=True,
    ),
    Guard(
        "transaction keeps marks",
        "worker/row_writes.py RowWrites.write",
        "on a keyed stream a transaction keeps mark and condition too",
        ADDS,
        0,
        switches=(switches.transaction_keeps_marks,),
        keyed=True,
    ),
    Guard(
        "marked is dealt with",
        "worker/row_writes.py RowWrites.place_of",
        "a record that is read again and that the mark covers is not counted again",
        ADDS,
        0,
        switches=(switches.marked_is_dealt_with,),
        keyed=True,
    ),
    Guard(
        "descendant is dealt with",
        "domain/marks.py route: DEALT_WITH",
        "a shard that is read again counts nothing that its descendants' marks cover",
        ADDS,
        105,
        switches=(switches.descendant_is_dealt_with,),
        keyed=True,
    ),
    Guard(
        "living shard keeps its mark",
        "domain/marks.py route: SHARED",
        "of two living shards with games of one player only one sets marks",
        ADDS,
        2,
        switches=(switches.living_shard_keeps_mark,),
        keyed=True,
    ),
)
