"""`consumer init --accept-rules`: appends the rules of these settings to the accepted ones, or says why it must not."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from consumer.domain.accepted_rules import AcceptedRules, differences, shown
from consumer.domain.audit import AuditEntry
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import Ledger, table_of
from consumer.domain.operator_ports import RuleList
from consumer.domain.records import Corrections, Rules
from consumer.domain.replies import Lost
from consumer.operations.steps import Command, OperatorCall, ask

ACTION: Final = "init --accept-rules"
TARGET: Final = "rules"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Rules that are to be appended to the accepted ones."""

    before: AcceptedRules
    rules: Rules

    @property
    def number(self) -> int:
        """The number that they get."""
        return len(self.before.entries) + 1

    @property
    def changes(self) -> list[str]:
        """The settings that differ from the ones that were accepted last, with both values."""
        newest = self.before.newest
        assert newest is not None
        differing = differences(newest, self.rules)
        return [f"{each.variable}: {shown(each.before)} -> {shown(each.after)}" for each in differing]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What an operator must know before."""
        earlier = self.before.number_of(self.rules)
        return (
            *self.changes,
            f"These rules get number {self.number}"
            + (f"; they were accepted before, as number {earlier}. " if earlier else ". ")
            + "A shard that a worker with these settings has claimed is not given back to workers of the older rules. "
            "Both may run at once, and each record counts once. To go back, accept the older rules again.",
        )


def plan(ledger: Ledger, rules: Rules, source_table: str | None) -> Acceptance | str:
    """What is to be accepted, or why there is nothing to do.

    Raises UnsafeRefused for rules with which a board that exists would be wrong.
    """
    accepted = ledger.accepted
    newest = accepted.newest
    sources = sorted({table_of(start.stream_arn) for start in ledger.stream_starts})
    if source_table is not None and sources and source_table not in sources:
        _refuse("CONSUMER_SOURCE_TABLE", source_table, ", ".join(sources), "this lease table counts another source")
    if newest is None:
        return (
            "There is nothing to accept yet: the lease table has no rules. The first worker of this version that "
            "starts records its own."
        )
    if rules.player_attribute != newest.player_attribute:
        why = "the rows of the board are those of other players"
        _refuse("CONSUMER_PLAYER_ATTRIBUTE", rules.player_attribute, newest.player_attribute, why)
    if rules.corrections is not newest.corrections:
        why = "a board counts changes and removals of items from its beginning or never"
        _refuse("CONSUMER_CORRECTIONS", rules.corrections, newest.corrections, why)
    if rules.corrections is Corrections.APPLY:
        _refuse_other_reading(accepted, newest, rules)
    zones = {each.time_zone for each in accepted.entries if each.windows}
    if rules.windows and zones - {rules.time_zone}:
        why = "the board has windows of another zone"
        _refuse("CONSUMER_TIME_ZONE", rules.time_zone, ", ".join(sorted(zones)), why)
    if rules == newest:
        return f"There is nothing to do: these rules are the newest, with number {len(accepted.entries)}."
    return Acceptance(accepted, rules)


def _refuse_other_reading(accepted: AcceptedRules, newest: Rules, rules: Rules) -> None:
    """Where corrections count, what was counted of an item must stay a game by all later rules: it is taken away again
    as its old image says.
    """
    for each in differences(newest, rules):
        if each.field in ("score_attribute", "timestamp_attribute", "timestamp_format"):
            why = "corrections count, and what was counted of an item could not be read from its old image any more"
            _refuse(each.variable, each.after, each.before, why)
    most = max(each.max_future_seconds for each in accepted.entries)
    if rules.max_future_seconds < most:
        why = "corrections count, and games that were accepted with the higher limit are on the board"
        _refuse("CONSUMER_MAX_FUTURE_SECONDS", f"{rules.max_future_seconds:g}", f"{most:g}", why)


def _refuse(variable: str, value: str, accepted: str, why: str) -> None:
    raise UnsafeRefused(
        f"{variable} is {value}, accepted is {accepted}: {why}. Nothing was changed. Next: correct {variable}. A board "
        "that is counted otherwise needs new, empty leaderboard, lease and quarantine tables: name them with "
        "CONSUMER_LEADERBOARD_TABLE, CONSUMER_LEASE_TABLE and CONSUMER_QUARANTINE_TABLE, and create them with "
        "`consumer init`"
    )


def carry_out(acceptance: Acceptance, rule_list: RuleList, who: str, at: float) -> Command[None]:
    """Appends the rules. Raises UnsafeRefused when the list is not as it was read."""
    detail = {"number": str(acceptance.number), "differences": "; ".join(acceptance.changes)}
    audit_entry = AuditEntry(who, at, ACTION, TARGET, detail)
    accept = partial(rule_list.accept, acceptance.before, acceptance.rules, audit_entry)
    reply = yield from ask(OperatorCall.ACCEPT_RULES, accept)
    if isinstance(reply, Lost):
        raise UnsafeRefused(
            "changed concurrently: other rules were accepted since the list was read. Nothing was changed. Next: "
            "`consumer init --accept-rules` again, which shows the difference from those"
        )
