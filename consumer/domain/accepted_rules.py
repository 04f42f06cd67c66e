"""The accepted rules of a ledger: a list that only grows. A worker's number is the last position of its own rules.

Why a list and numbers make a rolling release safe stands in docs/protocol.md.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple

from consumer.domain.errors import UnsafeRefused
from consumer.domain.records import Corrections, Rules
from consumer.domain.windows import Kept, KeptSince, after_claim, kept_text, merged, new_board, widest

NO_WINDOWS: Final[KeptSince] = {}


class Difference(NamedTuple):
    """A field of the rules that differs: its name, and both values as an operator gives them."""

    field: str
    before: str
    after: str

    @property
    def variable(self) -> str:
        """The setting."""
        return f"CONSUMER_{self.field.upper()}"


class Reading(NamedTuple):
    """How a shard is read: by the rules of this number, its games counted in these windows.

    Number 0: a version without numbers wrote the shard's row. `ignored`: see Circuit.
    """

    rules: int = 0
    windows: KeptSince = NO_WINDOWS
    ignored: bool = False


UNNUMBERED: Final = Reading()
"""Of a row that a version without numbers wrote."""


@dataclass(frozen=True, slots=True)
class AcceptedRules:
    """The accepted rules, oldest first; their numbers begin with 1. Empty: no worker of this version has started."""

    entries: tuple[Rules, ...] = ()

    @property
    def newest(self) -> Rules | None:
        """The ones that were accepted last."""
        return self.entries[-1] if self.entries else None

    @property
    def corrections(self) -> Corrections:
        """What becomes of changes and removals of items: the same in all of them."""
        return self.newest.corrections if self.newest is not None else Corrections.IGNORE

    @property
    def widest_windows(self) -> Kept:
        """Of each kind as many windows as any of them keeps."""
        return widest(rules.windows for rules in self.entries)

    @property
    def for_operators(self) -> Rules | None:
        """By which an operator's command reads records of any time: the newest, with the widest windows of them all."""
        if self.newest is None:
            return None
        return replace(self.newest, windows=self.widest_windows)

    def number_of(self, rules: Rules) -> int:
        """The number of a worker that reads by `rules`; 0: they are not accepted."""
        return max((number for number, each in enumerate(self.entries, 1) if each == rules), default=0)

    def claimed(self, before: Reading, number: int, at: float) -> Reading:
        """How a shard is read after a claim at `at` (unix seconds) by a worker with this number. It never goes down."""
        if number <= before.rules:
            return before
        if number > len(self.entries):
            return before._replace(rules=number)  # the list was lost: nothing is known of these windows
        rules = self.entries[number - 1]
        most_ahead = max(each.max_future_seconds for each in self.entries)
        windows = after_claim(before.windows, rules.windows, rules.time_zone, at, most_ahead)
        return before._replace(rules=number, windows=windows)

    def reading_of_root(self, rows: Collection[Reading], at: float) -> Reading:
        """How a shard without a parent is read that gets its row at `at`, beside these `rows` of the ledger.

        Without any, and with the first rules alone, the board is new. Else newer rules may have read its players in
        another shard.
        """
        if not rows:
            first = len(self.entries) == 1
            return Reading(1, new_board(self.entries[0].windows)) if first else self.reading_of_lost(at)
        before = Reading(0, merged(row.windows for row in rows), any(row.ignored for row in rows))
        return self.claimed(before, max(row.rules for row in rows), at)

    def reading_of_lost(self, at: float) -> Reading:
        """How a shard is read whose row was lost and is made again at `at`. By which rules it was read is not known, so
        only workers of the newest may go on.
        """
        return self.claimed(Reading(), len(self.entries), at)


def refuse_unaccepted(accepted: AcceptedRules, rules: Rules, lease_table: str) -> None:
    """Raises UnsafeRefused when these rules are none of the accepted ones. The first worker's are accepted."""
    newest = accepted.newest
    if newest is None or accepted.number_of(rules):
        return
    differing = "; ".join(
        f"{each.variable} is {shown(each.after)}, accepted is {shown(each.before)}"
        for each in differences(newest, rules)
    )
    if rules.corrections is not newest.corrections:
        raise UnsafeRefused(
            f"CONSUMER_CORRECTIONS is {rules.corrections}, and the board was begun with {newest.corrections} (lease "
            f"table {lease_table}): this is chosen before the first start and stays. {differing}. Nothing was read or "
            "written. Next: correct CONSUMER_CORRECTIONS. A board that counts otherwise is another one: it needs new, "
            "empty leaderboard, lease and quarantine tables"
        )
    raise UnsafeRefused(
        f"this worker would read records by other rules than those accepted in lease table {lease_table}. {differing}. "
        "Nothing was read or written. Next: correct what is set by mistake. Only if records are to be read by the new "
        "rules: `consumer init --accept-rules` with the settings of this worker, then start it again"
    )


def shown(value: str) -> str:
    """A value in a sentence, also one that is empty."""
    return value or "empty"


def differences(before: Rules, after: Rules) -> list[Difference]:
    """The fields in which they differ."""
    return [
        Difference(field.name, text_of(before, field.name), text_of(after, field.name))
        for field in fields(Rules)
        if getattr(before, field.name) != getattr(after, field.name)
    ]


def text_of(rules: Rules, field: str) -> str:
    """The value of a field as an operator gives it."""
    value = getattr(rules, field)
    if isinstance(value, tuple):
        return kept_text(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value)
