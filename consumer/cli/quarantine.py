"""`consumer quarantine`: counts, discards and restores the records that could not be counted."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import click

from consumer.cli.app import (
    LOGS,
    RETENTION,
    RULES,
    TABLES,
    dry_run,
    json_document,
    json_object,
    with_settings,
    yes,
)
from consumer.cli.output import Column, confirm, print_deltas, print_records, to_json, visible, with_count
from consumer.cli.quarantine_filter import select, selection
from consumer.cli.quarantine_list import assignments, compact, list_records, show
from consumer.domain.conversions import CONVERSIONS
from consumer.domain.errors import UnsafeRefused, UsageFault
from consumer.domain.quarantine import EntryState, QuarantineEntry, parse_repairs
from consumer.domain.text import breakdown, many
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.domain.fold import Delta
    from consumer.operations.quarantine import Countable, QuarantineService, Repair
    from consumer.wiring.operators import Session

CHANGED_FIRST: Final = "another operator or worker changed it first"
MOST_REASON_CHARACTERS: Final = 1000
MOST_LINES: Final = 20
"""Records of one reason that are named one by one; of the others it is said how many there are."""


@click.group()
def quarantine() -> None:
    """Records that could not be counted: list, show, redrive, discard or restore them."""


quarantine.add_command(list_records)
quarantine.add_command(show)


@quarantine.command()
@selection
@click.option(
    "--set", "repairs", multiple=True, metavar="FIELD=VALUE", help="Repair player, score or timestamp; can be repeated."
)
@click.option(
    "--convert",
    "converts",
    multiple=True,
    type=click.Choice(list(CONVERSIONS)),
    help="Repair the field of each record from its own value, where that says what was meant; can be repeated.",
)
@dry_run
@yes
@json_document
@with_settings(*TABLES, RETENTION, *LOGS, without_flags=RULES)
def redrive(
    settings: Settings,
    *,
    everything: bool,
    repairs: tuple[str, ...],
    converts: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    json: bool,
    **selected: str | None,
) -> int:
    """Counts pending records, each once: one by SHARD SEQ, those that match the filters, or --all.

    A record is decoded again, by the rules that the lease table has accepted. One that is still poison stays pending,
    with the reason on stderr. A record's delta, its new state and its audit row are one transaction: two operators, a
    kill or a lost reply never count it twice. Run it again after an interruption.

    --set gives all records the same value. With several records, only those are changed whose fault is in that field.
    --convert gives each its own: a score that is a string of a number becomes that number, a timestamp in seconds or
    milliseconds since 1970, or in another ISO form, becomes that time. What can be read in two ways stays poison. The
    record that is kept in quarantine stays as it came.

    With CONSUMER_CORRECTIONS=apply the board is what the items say: mend the item instead, and that counts. A redrive
    takes neither flag there, and counts a record only while no later one of its item has come.

    \b
    Example:
      consumer quarantine redrive --reason score_type --convert score --dry-run
      consumer quarantine redrive SHARD SEQ --set score=12

    \b
    Exit codes:
      0  all were counted
      4  some stayed pending, or were not pending any more
    """
    # In one piece: its flags and their help are most of it.
    values = parse_repairs(repairs)
    if twice := sorted(set(values) & set(converts)):
        raise UsageFault(f"--set and --convert both name {', '.join(twice)}: use one of the two")
    chosen = select(selected, everything=everything)
    from consumer.operations.quarantine import Repair
    from consumer.wiring.operators import quarantine_service

    repair = Repair(values, only_wrong=chosen.one is None, converts=frozenset(converts))
    with quarantine_service(settings, acting=True) as (service, session):
        service.refuse_repairs(repair)
        entries = chosen.entries(service, session, settings, "redriven")
        session.refuse_other_board(entries)
        if dry_run:
            return _dry_run(service, session, entries, repair, json=json)
        if entries:
            repaired = _with_repairs(values, repair.converts)
            confirm(f"Count {_summary(entries)} in {settings.leaderboard_table}{repaired}?", yes=yes)
        results = service.redrive_all(entries, repair, session.together)
        return _act(results, Results(len(entries), "still poison"), "counted", one=chosen.one is not None, json=json)


def _with_repairs(values: Mapping[str, str], converts: Iterable[str]) -> str:
    changes = [assignments(values)] if values else []
    changes += [f"each {field} converted" for field in sorted(converts)]
    return f", with {', '.join(changes)}" if changes else ""


def _dry_run(
    service: "QuarantineService", session: "Session", entries: list[QuarantineEntry], repair: "Repair", *, json: bool
) -> int:
    from consumer.operations.quarantine import Countable, add_all

    counts = Results(len(entries), "would stay")
    games: list[Countable] = []
    results = service.dry_run_all(entries, repair, session.together)
    for result in with_count(results, len(entries), "reading"):
        counts.take(result)
        if isinstance(result, Countable):
            games.append(result)
    counts.end()
    games.sort(key=lambda each: each.entry.order)
    deltas: dict[str, Delta] = {}
    for each in games:
        add_all(deltas, each.deltas)
    if not json:
        _print_repairs([each for each in games if each.repairs])
    print_deltas(dict(sorted(deltas.items())), json=json)
    if not json:
        print(f"{many(len(games), 'record')} would be counted{counts.not_done}", file=sys.stderr)
    return counts.exit_code


def _print_repairs(games: list["Countable"]) -> None:
    """What each record becomes: its values as they came, and as they would count."""
    if not games:
        return
    groups: dict[str, list[tuple[str | None, ...]]] = {}
    for entry, change, _, repairs, came, _ in games:
        before = ", ".join(f"{field} {compact(came[field]) or '-'}" for field in repairs)
        row = (entry.sequence_number, change.player, before, ", ".join(f"{value}" for value in repairs.values()))
        groups.setdefault(f"shard {entry.shard}", []).append(row)
    columns = (
        Column("sequenceNumber"),
        Column("playerId", id=True),
        Column("came as", cut=True),
        Column("becomes", cut=True),
    )
    print_records(columns, groups)
    print(flush=True)


@quarantine.command()
@selection
@click.option("--because", metavar="TEXT", help="Why they shall never count; it is kept. Required.")
@yes
@json_object
@with_settings("quarantine_table", "lease_table", RETENTION, *LOGS)
def discard(
    settings: Settings, *, everything: bool, because: str | None, yes: bool, json: bool, **selected: str | None
) -> int:
    """Marks pending records as discarded: one by SHARD SEQ, those that match the filters, or --all. They never count.

    Rows and records stay, with who discarded them, when and why; an audit row records it too. `consumer quarantine
    restore` takes it back. With CONSUMER_CORRECTIONS=apply the board keeps what is counted of their items.

    \b
    Example:
      consumer quarantine discard --player load-test --because "not a real player"

    \b
    Exit codes:
      0  all were discarded     4  some were not pending any more
    """
    if because is None or not because.strip():
        raise UsageFault("--because is missing: say why these records shall never count; it is kept with them")
    if len(because) > MOST_REASON_CHARACTERS:
        raise UsageFault(f"--because has more than {MOST_REASON_CHARACTERS:,} characters: make it shorter")
    chosen = select(selected, everything=everything)
    from consumer.wiring.operators import quarantine_service

    with quarantine_service(settings, acting=False) as (service, session):
        entries = chosen.entries(service, session, settings, "discarded")
        if entries:
            confirm(f"Discard {_summary(entries)}? They will never count.", yes=yes)
        results = service.discard_all(entries, because, session.together)
        return _act(results, Results(len(entries), "not discarded"), "discarded", one=chosen.one is not None, json=json)


@quarantine.command()
@selection
@yes
@json_object
@with_settings("quarantine_table", "lease_table", RETENTION, *LOGS, without_flags=RULES)
def restore(settings: Settings, *, everything: bool, yes: bool, json: bool, **selected: str | None) -> int:
    """Takes a discard back: discarded records are pending again, and a redrive can count them. Nothing is counted yet.

    One record by SHARD SEQ, those that match the filters, or --all that are discarded. An audit row records it. With
    CONSUMER_CORRECTIONS=apply only while no later record of its item has come.

    \b
    Example:
      consumer quarantine restore --reason score_type --since 2026-01-31T12:00:00Z

    \b
    Exit codes:
      0  all are pending again
      4  some were not discarded any more, have expired, or
         are not the last of their item
    """
    chosen = select(selected, everything=everything, state=EntryState.DISCARDED)
    from consumer.wiring.operators import quarantine_service

    with quarantine_service(settings, acting=False) as (service, session):
        entries = chosen.entries(service, session, settings, "restored")
        if entries:
            confirm(f"Restore {_summary(entries)}? They are pending then.", yes=yes)
        results = service.restore_all(entries, session.together)
        return _act(results, Results(len(entries), "not restored"), "restored", one=chosen.one is not None, json=json)


class Results:
    """What became of `total` records so far. Those that stay as they are, are named on stderr, some of each reason."""

    def __init__(self, total: int, stays: str) -> None:
        self.done = 0
        self.changed = 0
        self.stayed = Counter[str]()
        self.last: object = None
        self._total = total
        self._stays = stays

    def take(self, result: object) -> None:
        """One more result of an operator's act."""
        from consumer.operations.quarantine import ChangedConcurrently, Expired, StillPoison

        self.last = result
        match result:
            case StillPoison(entry, reason, detail):
                self._stay(entry, reason, detail)
            case Expired(entry, detail):
                self._stay(entry, "expired", detail)
            case ChangedConcurrently():
                self.changed += 1
            case _:
                self.done += 1

    def end(self) -> None:
        """Says how many were not named."""
        for reason, records in self.stayed.items():
            if records > MOST_LINES:
                print(f"{self._stays}: {records - MOST_LINES:,} more: {reason}", file=sys.stderr)

    def _stay(self, entry: QuarantineEntry, reason: str, detail: str) -> None:
        self.stayed[reason] += 1
        if self.stayed[reason] <= MOST_LINES:
            print(f"{self._stays}: {entry}: {reason}: {visible(detail)}", file=sys.stderr)

    @property
    def left(self) -> int:
        """Records of which nothing is known yet."""
        return self._total - self.done - self.changed - self.stayed.total()

    @property
    def not_done(self) -> str:
        """What was not done, for the end of a sentence."""
        text = f"; {self.stayed.total():,} {self._stays} ({breakdown(self.stayed)})" if self.stayed else ""
        return f"{text}; {self.changed:,} not as they were read: {CHANGED_FIRST}" if self.changed else text

    @property
    def exit_code(self) -> int:
        """The command's."""
        return 4 if self.stayed or self.changed else 0


def _act(results: Iterator[object], counts: Results, done: str, *, one: bool, json: bool) -> int:
    """Carries it out, with a bar, and prints what came of it. An interruption says how far it came."""
    from consumer.operations.quarantine import ChangedConcurrently, require_state

    total, finished = counts.left, False
    try:
        for result in with_count(results, total, done):
            counts.take(result)
        finished = True
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    finally:
        if not finished:
            print(
                f"Stopped: {counts.done:,} {done}; of the other {counts.left:,} of {many(total, 'record')} those "
                "in flight may be too. Run it again for the rest: no record is counted twice.",
                file=sys.stderr,
            )
    counts.end()
    if one and isinstance(counts.last, ChangedConcurrently):
        require_state(counts.last.now, CHANGED_FIRST)
        raise UnsafeRefused(CHANGED_FIRST)
    if json:
        document: dict[str, object] = {"applied" if done == "counted" else done: counts.done}
        if done == "counted":
            document["stillPoison"] = dict(sorted(counts.stayed.items()))
        elif done == "restored":
            document["expired"] = counts.stayed.total()
        print(to_json({**document, "takenByOthers": counts.changed}))
    else:
        print(f"{many(counts.done, 'record')} {done}{counts.not_done}")
    return counts.exit_code


def _summary(entries: list[QuarantineEntry]) -> str:
    """How many records, of how many shards, for which reasons."""
    shards = len({entry.shard for entry in entries})
    reasons = breakdown(Counter(entry.reason for entry in entries))
    return f"{many(len(entries), 'record')} of {many(shards, 'shard')} ({reasons})"
