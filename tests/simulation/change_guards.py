"""The guards of windows, and of rules and their numbers: in runs in which days pass and rules change."""

from typing import Final

from tests.simulation import change_switches
from tests.simulation.proving import Guard

FOLD: Final = "a complete window is the fold of its games"
GONE: Final = "what has expired goes with the player's next write"
DOWN: Final = "a number never goes down"
MEANS: Final = "a number means one set of rules"
SHARES: Final = "after faults shares differ by at most one"
DRAINS: Final = "after faults everything drains"

CHANGE_GUARDS: Final = (
    # --- rules and their numbers ---
    Guard(
        "number of a row",
        "domain/planner.py plan; domain/accepted_rules.py AcceptedRules.claimed",
        "a shard that newer rules have read is not read by older ones",
        DOWN,
        0,
        switches=(change_switches.number_of_a_row,),
        changing=True,
    ),
    Guard(
        "claim writes the number",
        "aws/leases.py DynamoLeases.claim: rules; domain/accepted_rules.py AcceptedRules.claimed",
        "what a worker may read after the claim was read by its rules or older ones",
        MEANS,
        0,
        switches=(change_switches.claim_writes_the_number,),
        changing=True,
    ),
    Guard(
        "children inherit the number",
        "worker/writer.py child_row: read_as; domain/lineage.py late_row: read_as",
        "the players of a child were read by its parent's rules",
        DOWN,
        0,
        switches=(change_switches.children_inherit_the_number,),
        changing=True,
    ),
    Guard(
        "number at every load",
        "worker/coordinator.py Coordinator.take: Load",
        "workers of older rules go on when these are accepted again",
        SHARES,
        0,
        switches=(change_switches.number_at_every_load,),
        changing=True,
    ),
    Guard(
        "last place in the list",
        "domain/accepted_rules.py AcceptedRules.number_of: max",
        "rules that are accepted again are the newest",
        DRAINS,
        1,
        switches=(change_switches.last_place_in_the_list,),
        changing=True,
    ),
    Guard(
        "list as it was read",
        "aws/operator_writes.py DynamoRuleList.accept: #rules = :before",
        "of two operators who accept rules at once none overwrites what the other has accepted",
        "accepted rules stay",
        1,
        off=("rules_unchanged",),
        changing=True,
    ),
    Guard(
        "a lost row has the newest number",
        "domain/accepted_rules.py AcceptedRules.reading_of_lost",
        "by which rules a shard was read whose row is lost is not known",
        DOWN,
        16,
        switches=(change_switches.lost_row_has_the_newest_number,),
        changing=True,
    ),
    # --- windows ---
    Guard(
        "games ahead count",
        "domain/windows.py Calendar.counted",
        "a game that is dated ahead counts in its windows before they begin",
        FOLD,
        1,
        switches=(change_switches.games_ahead_count,),
        changing=True,
    ),
    Guard(
        "expired at creation",
        "worker/row_writes.py RowWrites.plain; domain/windows.py Calendar.expired",
        "a game that is dated ahead drops no window that is kept now",
        FOLD,
        19,
        switches=(change_switches.expired_at_creation,),
        changing=True,
    ),
    Guard(
        "expired goes",
        "domain/windows.py Calendar.expired",
        "rows do not grow",
        GONE,
        0,
        switches=(change_switches.expired_goes,),
        changing=True,
    ),
    Guard(
        "row is looked at",
        "worker/row_writes.py RowWrites.look_at_windows",
        "what other workers have added goes, too",
        GONE,
        0,
        switches=(change_switches.row_is_looked_at,),
        changing=True,
    ),
    Guard(
        "dropped or added",
        "worker/row_writes.py RowWrites.plain",
        "no update names an attribute twice",
        "a write adds to no window that it drops",
        1,
        switches=(change_switches.dropped_or_added,),
        changing=True,
    ),
    Guard(
        "new kind is incomplete",
        "domain/windows.py after_claim: MARGIN_SECONDS",
        "games that are dated ahead of a claim were counted by the rules before",
        FOLD,
        108,
        switches=(change_switches.new_kind_is_incomplete,),
        changing=True,
    ),
    Guard(
        "kind that is not kept",
        "domain/windows.py after_claim",
        "windows that were not kept for a while are incomplete",
        FOLD,
        6,
        switches=(change_switches.kind_that_is_not_kept,),
        changing=True,
    ),
    Guard(
        "more windows are incomplete",
        "domain/windows.py after_claim: grown",
        "windows that had expired before more were kept are incomplete",
        FOLD,
        31,
        switches=(change_switches.more_windows_are_incomplete,),
        changing=True,
    ),
    Guard(
        "widest windows of all",
        "domain/accepted_rules.py AcceptedRules.for_operators: widest_windows",
        "a record that is re-driven counts in windows that workers of older rules still keep",
        FOLD,
        101,
        switches=(change_switches.widest_windows_of_all,),
        changing=True,
    ),
)
"""`invariant` is the one that broke first when the seed was found."""
