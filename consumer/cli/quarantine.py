"""`consumer quarantine`: lists, shows, redrives and discards the records that could not be counted."""

import json as json_library
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from consumer.cli.app import (
    LOGS,
    RETENTION,
    RULES,
    TABLES,
    dry_run,
    json_array,
    json_document,
    json_object,
    limit,
    shard_argument,
    with_settings,
    yes,
)
from consumer.cli.output import (
    confirm,
    print_array,
    print_columns,
    print_deltas,
    to_json,
    visible,
    with_count,
)
from consumer.cli.quarantine_filter import filters, make_filter, one_record, require_number, select
from consumer.domain.errors import UnsafeRefused, UsageFault
from consumer.domain.quarantine import EntryState, QuarantineEntry, parse_repairs
from consumer.domain.records import Game
from consumer.domain.text import breakdown, many
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.quarantine import QuarantineService, Repair, Result
    from consumer.wiring.operators import Session

CHANGED_FIRST: Final = "another operator or worker changed it first"
MOST_REASON_CHARACTERS: Final = 1000


ALL: Final = "all"


@click.group()
def quarantine() -> None:
    """Records that could not be counted: list, show, redrive or discard them."""


@quarantine.command("list")
@filters("reason")
@click.option(
    "--state",
    type=click.Choice([*(state.value for state in EntryState), ALL]),
    default=EntryState.PENDING.value,
    help="In this state.",
)
@limit
@json_array
@with_settings("quarantine_table", "lease_table", *LOGS)
def list_records(settings: Settings, *, state: str, limit: int | None, json: bool, **flags: str | None) -> int:
    """Lists quarantined records by shard and sequence number.

    \b
    Example:
      consumer quarantine list --reason score_type --since 2026-01-31T12:00:00Z --limit 20
    """
    filter_ = make_filter(flags, None if state == ALL else EntryState(state))
    from consumer.wiring.operators import quarantine_service

    with quarantine_service(settings, acting=False) as (service, session):
        watch = partial(with_count, title=f"reading {settings.quarantine_table}")
        entries = session.run(service.select(filter_, watch))
    shown = entries[:limit]
    if json:
        print_array([_fields(entry) for entry in shown])
    elif shown:
        names = ("shardId", "sequenceNumber", "playerId", "reason", "state", "quarantinedAt", "detail")
        print_columns(
            names,
            [
                (
                    entry.shard_id,
                    entry.sequence_number,
                    entry.player,
                    entry.reason,
                    _state(entry),
                    entry.quarantined_at,
                    entry.detail,
                )
                for entry in shown
            ],
        )
    else:
        print("Nothing in quarantine matches.", file=sys.stderr)
    if len(shown) < len(entries):
        print(f"{len(shown):,} of {many(len(entries), 'record')} shown (--limit)", file=sys.stderr)
    return 0


@quarantine.command()
@shard_argument
@click.argument("sequence_number", metavar="SEQ", help="The record's sequence number.")
@json_object
@with_settings("quarantine_table", "lease_table", *LOGS)
def show(settings: Settings, shard: str, sequence_number: str, json: bool) -> int:
    """Shows why a record is in quarantine, and the whole of it, as DynamoDB JSON.

    \b
    Example:
      consumer quarantine show shardId-00000001769860800000-00000000 100000000000000000000042
    """
    require_number(sequence_number)
    from consumer.wiring.operators import quarantine_service

    with quarantine_service(settings, acting=False) as (service, session):
        entry = session.run(service.find(shard, sequence_number))
        record = session.run(service.record(entry))
    if json:
        print(to_json({**_fields(entry), "record": record}))
        return 0
    print(f"shard        {visible(str(entry.shard))}")
    print(f"record       {entry.sequence_number}")
    print(f"player       {visible(entry.player) if entry.player is not None else '-'}")
    print(f"reason       {visible(entry.reason)}: {visible(entry.detail)}")
    print(f"state        {visible(_state(entry))}")
    print(f"quarantined  {visible(entry.quarantined_at)}")
    print()
    print(json_library.dumps(record, indent=2) if record is not None else "The record's parts are missing or damaged.")
    return 0


def _fields(entry: QuarantineEntry) -> dict[str, object]:
    """For `--json`: every key always; null where the row has none."""
    applied = entry.resolution if entry.state == EntryState.APPLIED else None
    discarded = entry.resolution if entry.state == EntryState.DISCARDED else None
    return {
        "shardId": entry.shard_id,
        "sequenceNumber": entry.sequence_number,
        "reason": entry.reason,
        "detail": entry.detail,
        "state": entry.state,
        "playerId": entry.player,
        "quarantinedAt": entry.quarantined_at,
        "createdAt": Decimal(f"{entry.created:.3f}").normalize() if entry.created is not None else None,
        "streamArn": entry.stream_arn,
        "parts": entry.parts,
        "appliedAt": applied.at if applied else None,
        "appliedBy": applied.by if applied else None,
        "repairs": dict(applied.repairs) if applied else None,
        "discardedAt": discarded.at if discarded else None,
        "discardedBy": discarded.by if discarded else None,
        "discardReason": discarded.why if discarded else None,
    }


def _state(entry: QuarantineEntry) -> str:
    """The state, and which operator's action led to it."""
    resolution = entry.resolution
    if resolution is None:
        return entry.state
    text = f"{entry.state} by {resolution.by} at {resolution.at}"
    if resolution.repairs:
        text += f" with {_assignments(resolution.repairs)}"
    return f"{text}: {resolution.why}" if resolution.why else text


@quarantine.command()
@one_record
@filters("reason")
@click.option(
    "--set", "repairs", multiple=True, metavar="FIELD=VALUE", help="Repair player, score or timestamp; can be repeated."
)
@dry_run
@yes
@json_document
@with_settings(*TABLES, *RULES, RETENTION, *LOGS)
def redrive(
    settings: Settings, *, repairs: tuple[str, ...], dry_run: bool, yes: bool, json: bool, **selected: str | None
) -> int:
    """Counts pending records, each once: one by SHARD SEQ, or all that match the filters.

    A record is decoded again, with the current settings. One that is still poison stays pending, with the reason on
    stderr. A record's delta, its new state and its audit row are one transaction: two operators, a kill or a lost
    reply never count it twice. Run it again after an interruption. With --set and several records, only those are
    changed whose fault is in that field; the record that is kept in quarantine stays as it came.

    \b
    Example:
      consumer quarantine redrive --reason score_type --set score=12 --dry-run

    \b
    Exit codes:
      0  all were counted       4  some stayed pending, or were not pending any more
    """
    values = parse_repairs(repairs)
    selection = select(selected, "reason")
    from consumer.operations.quarantine import Repair
    from consumer.wiring.operators import quarantine_service

    with quarantine_service(settings, acting=True) as (service, session):
        entries = selection.entries(service, session, settings, "redriven")
        repair = Repair(values, only_wrong=selection.one is None)
        if dry_run:
            return _dry_run(service, session, entries, repair, json=json)
        if entries:
            repaired = f", with {_assignments(values)}" if values else ""
            confirm(f"Count {_summary(entries)} in {settings.leaderboard_table}{repaired}?", yes=yes)
        return _redrive(service, session, entries, repair, one=selection.one is not None, json=json)


def _redrive(
    service: "QuarantineService",
    session: "Session",
    entries: list[QuarantineEntry],
    repair: "Repair",
    *,
    one: bool,
    json: bool,
) -> int:
    from consumer.operations.quarantine import Applied, ChangedConcurrently, StillPoison, require_pending

    applied, changed, still_poison = 0, 0, Counter[str]()
    last: Result | None = None

    def progress() -> str:
        left = len(entries) - applied - changed - still_poison.total()
        return f"{applied:,} counted, {left:,} of {many(len(entries), 'record')}"

    with _reporting_interruption(progress):
        for last in with_count(
            (session.run(service.redrive(entry, repair)) for entry in entries), len(entries), "redriving"
        ):
            match last:
                case Applied():
                    applied += 1
                case StillPoison(entry, code, detail):
                    still_poison[code] += 1
                    print(f"still poison: {entry}: {code}: {visible(detail)}", file=sys.stderr)
                case ChangedConcurrently():
                    changed += 1
    if one and isinstance(last, ChangedConcurrently):
        require_pending(last.now, CHANGED_FIRST)
        raise UnsafeRefused(CHANGED_FIRST)
    if json:
        counts = {"applied": applied, "stillPoison": dict(sorted(still_poison.items())), "takenByOthers": changed}
        print(to_json(counts))
    else:
        print(f"{many(applied, 'record')} counted{_not_counted(still_poison)}{_changed_first(changed)}")
    return 4 if still_poison or changed else 0


def _dry_run(
    service: "QuarantineService", session: "Session", entries: list[QuarantineEntry], repair: "Repair", *, json: bool
) -> int:
    from consumer.operations.quarantine import StillPoison, folded

    games: list[Game] = []
    still_poison = Counter[str]()
    results = (session.run(service.dry_run(entry, repair)) for entry in entries)
    for result in with_count(results, len(entries), "reading"):
        if isinstance(result, StillPoison):
            still_poison[result.reason] += 1
            print(f"would stay: {result.entry}: {result.reason}: {visible(result.detail)}", file=sys.stderr)
        else:
            games.append(result)
    print_deltas(folded(games), json=json)
    if not json:
        print(f"{many(len(games), 'record')} would be counted{_not_counted(still_poison)}", file=sys.stderr)
    return 4 if still_poison else 0


@quarantine.command()
@one_record
@filters("reason-code")
@click.option("--reason", "why", metavar="TEXT", help="Why they shall never count; it is kept. Required.")
@yes
@json_object
@with_settings("quarantine_table", "lease_table", RETENTION, *LOGS)
def discard(settings: Settings, *, why: str | None, yes: bool, json: bool, **selected: str | None) -> int:
    """Marks pending records as discarded: one by SHARD SEQ, or all that match the filters. They will never count.

    Rows and records stay, with who discarded them, when and why; an audit row records it too.

    \b
    Example:
      consumer quarantine discard --player load-test --reason "not a real player"

    \b
    Exit codes:
      0  all were discarded     4  some were not pending any more
    """
    if why is None or not why.strip():
        raise UsageFault("--reason is missing: say why these records shall never count; it is kept with them")
    if len(why) > MOST_REASON_CHARACTERS:
        raise UsageFault(f"--reason has more than {MOST_REASON_CHARACTERS:,} characters: make it shorter")
    selection = select(selected, "reason-code")
    from consumer.wiring.operators import quarantine_service

    with quarantine_service(settings, acting=False) as (service, session):
        entries = selection.entries(service, session, settings, "discarded")
        if entries:
            confirm(f"Discard {_summary(entries)}? They will never count.", yes=yes)
        return _discard(service, session, entries, why, one=selection.one is not None, json=json)


def _discard(
    service: "QuarantineService", session: "Session", entries: list[QuarantineEntry], why: str, *, one: bool, json: bool
) -> int:
    from consumer.operations.quarantine import ChangedConcurrently, Discarded, require_pending

    discarded, changed = 0, 0
    last: Discarded | ChangedConcurrently | None = None

    def progress() -> str:
        left = len(entries) - discarded - changed
        return f"{discarded:,} discarded, {left:,} of {many(len(entries), 'record')}"

    with _reporting_interruption(progress):
        for last in with_count(
            (session.run(service.discard(entry, why)) for entry in entries), len(entries), "discarding"
        ):
            discarded += isinstance(last, Discarded)
            changed += isinstance(last, ChangedConcurrently)
    if one and isinstance(last, ChangedConcurrently):
        require_pending(last.now, CHANGED_FIRST)
    if json:
        print(to_json({"discarded": discarded, "takenByOthers": changed}))
    else:
        print(f"{many(discarded, 'record')} discarded{_changed_first(changed)}")
    return 4 if changed else 0


@contextmanager
def _reporting_interruption(progress: Callable[[], str]) -> Iterator[None]:
    """Prints how far a command on several records came when it is interrupted; Ctrl-C ends the command with 130."""
    finished = False
    try:
        yield
        finished = True
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    finally:
        if not finished:
            print(f"Stopped: {progress()} not tried; run it again for the rest.", file=sys.stderr)


def _summary(entries: list[QuarantineEntry]) -> str:
    """How many records, of how many shards, for which reasons."""
    shards = len({entry.shard for entry in entries})
    reasons = breakdown(Counter(entry.reason for entry in entries))
    return f"{many(len(entries), 'record')} of {many(shards, 'shard')} ({reasons})"


def _assignments(values: Mapping[str, str]) -> str:
    return ", ".join(f"{field}={value}" for field, value in values.items())


def _not_counted(still_poison: Counter[str]) -> str:
    return f"; {still_poison.total():,} still poison ({breakdown(still_poison)})" if still_poison else ""


def _changed_first(changed: int) -> str:
    return f"; {changed:,} not pending any more: {CHANGED_FIRST}" if changed else ""
