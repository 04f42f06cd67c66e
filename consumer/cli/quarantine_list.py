"""`consumer quarantine list` and `show`: what is poison, why, and what it says."""

import csv
import json as json_library
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from consumer.cli.app import LOGS, RULES, json_array, json_object, limit, shard_argument, switch, with_settings
from consumer.cli.output import Column, print_array, print_records, to_json, visible, with_count
from consumer.cli.quarantine_filter import filters, make_filter, require_number
from consumer.domain.errors import UsageFault
from consumer.domain.quarantine import EntryState, QuarantineEntry
from consumer.domain.text import many
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.corrections import RecordItem
    from consumer.operations.quarantine import Described

ALL: Final = "all"
STDOUT: Final = "-"


@click.command("list")
@filters
@click.option(
    "--state",
    type=click.Choice([*(state.value for state in EntryState), ALL]),
    default=EntryState.PENDING.value,
    help="In this state.",
)
@limit
@switch("--summary", help="Only how many, by reason.")
@click.option("--export", metavar="FILE", help="Write them to a new file, as CSV (.csv) or JSON lines; - is stdout.")
@json_array
@with_settings("quarantine_table", "lease_table", *LOGS, without_flags=RULES)
def list_records(
    settings: Settings,
    *,
    state: str,
    limit: int | None,
    summary: bool,
    export: str | None,
    json: bool,
    **flags: str | None,
) -> int:
    """Lists quarantined records by shard and reason, with the value that is wrong and the key of their item; at the
    end how many there are of each reason.

    A line has at most the terminal's width. Ids are shown whole, or left out where they do not fit: --json and --export
    have everything.

    \b
    Example:
      consumer quarantine list --reason score_type --since 2026-01-31T12:00:00Z \\
        --limit 20
      consumer quarantine list --export poison.csv
    """
    if json and export is not None:
        raise UsageFault("--json prints the records, and --export writes them: use one of the two")
    if summary and (json or export is not None or limit is not None):
        raise UsageFault("--summary is a table of all records: use it without --json, --export and --limit")
    filter_ = make_filter(flags, None if state == ALL else EntryState(state))
    from consumer.wiring.operators import quarantine_service

    with quarantine_service(settings, acting=False) as (service, session):
        watch = partial(with_count, title=f"reading {settings.quarantine_table}")
        entries = session.run(service.select(filter_, watch))
        shown = [] if summary else entries[:limit]
        found = with_count(service.describe_all(shown, session.together), len(shown), "reading records")
        described = sorted(found, key=lambda each: each.entry.order)
    if json:
        print_array([_fields(each.entry) | _described(each) for each in described])
    elif export is not None:
        _export(described, export)
    elif entries:
        if not summary:
            _print(described, with_state=state == ALL, player_attribute=service.rules.player_attribute)
            print(flush=True)
        _print_summary(entries)
    else:
        print("Nothing in quarantine matches.", file=sys.stderr)
    if len(described) < len(entries) and not summary:
        print(f"{len(described):,} of {many(len(entries), 'record')} shown (--limit)", file=sys.stderr)
    return 0


@click.command()
@shard_argument
@click.argument("sequence_number", metavar="SEQ", help="The record's sequence number.")
@json_object
@with_settings("quarantine_table", "lease_table", *LOGS, without_flags=RULES)
def show(settings: Settings, shard: str, sequence_number: str, json: bool) -> int:
    """Shows why a record is in quarantine, and the whole of it, as DynamoDB JSON.

    \b
    Example:
      consumer quarantine show shardId-00000001769860800000-00000000 \\
        100000000000000000000042
    """
    require_number(sequence_number)
    from consumer.wiring.operators import quarantine_service

    with quarantine_service(settings, acting=False) as (service, session):
        entry = session.run(service.find(shard, sequence_number))
        (record,) = session.run(service.records([entry]))
        record_item = session.run(service.item_of(entry)) if service.corrects and not json else None
    if json:
        print(to_json({**_fields(entry), **_described(service.described(entry, record)), "record": record}))
        return 0
    print(f"shard        {visible(str(entry.shard))}")
    print(f"record       {entry.sequence_number}")
    print(f"player       {visible(entry.player) if entry.player is not None else '-'}")
    print(f"reason       {visible(entry.reason)}: {visible(entry.detail)}")
    print(f"state        {visible(_state(entry))}")
    print(f"quarantined  {visible(entry.quarantined_at)}")
    if record_item is not None:
        print(f"item         {visible(entry.item or 'its key cannot be read')}")
        print(f"counted      {visible(_counted(record_item))}")
    print()
    print(json_library.dumps(record, indent=2) if record is not None else "The record's parts are missing or damaged.")
    return 0


def _counted(record_item: "RecordItem") -> str:
    """What is counted of the record's item, as far as the record decides it."""
    if not record_item.is_last:
        return "not by this record: a later one of its item decides"
    image = record_item.counted
    what = "nothing of the item" if image is None else f"{image.score:f} of {image.player}, played {image.played[0]}"
    over = record_item.found is None
    return f"{what}; the item's life is over" if over else f"{what}, until the item is mended or removed"


def _print(described: Sequence["Described"], *, with_state: bool, player_attribute: str) -> None:
    """One table per shard and reason, all with the same columns."""
    groups: dict[tuple[str, str], list[Described]] = {}
    for each in described:
        groups.setdefault((str(each.entry.shard), each.entry.reason), []).append(each)
    keys = dict.fromkeys(name for each in described for name in each.key or () if name != player_attribute)
    columns = (
        Column("sequenceNumber"),
        *((Column("state"),) if with_state else ()),
        Column("playerId", id=True),
        Column("value", cut=True),
        *(Column(name, id=True) for name in keys),
    )
    print_records(
        columns,
        {
            f"shard {shard}\n{reason}: {of_reason[0].entry.detail}": [
                (
                    each.entry.sequence_number,
                    *((each.entry.state,) if with_state else ()),
                    each.entry.player,
                    compact(each.value),
                    *(_scalar((each.key or {}).get(name)) for name in keys),
                )
                for each in of_reason
            ]
            for (shard, reason), of_reason in groups.items()
        },
    )


def _print_summary(entries: Sequence[QuarantineEntry]) -> None:
    """How many records there are of each reason."""
    groups: dict[tuple[str, str], list[QuarantineEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.reason, entry.state), []).append(entry)
    columns = (
        *(Column("reason"), Column("state"), Column("records", right=True)),
        *(Column("players", right=True), Column("shards", right=True), Column("first quarantined")),
    )
    rows = [
        (
            *(reason, state, f"{len(group):,}"),
            f"{len({entry.player for entry in group} - {None}):,}",
            f"{len({entry.shard for entry in group}):,}",
            min(entry.quarantined_at for entry in group),
        )
        for (reason, state), group in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]
    print_records(columns, {"": rows})


def _export(described: Sequence["Described"], target: str) -> None:
    rows = [_fields(each.entry) | _described(each) for each in described]
    with _opened(target) as file:
        if target.endswith(".csv"):
            names = [*_fields(_NONE), "value", "itemKey"]
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows([_cell(row[name]) for name in names] for row in rows)
        else:
            file.writelines(f"{to_json(row)}\n" for row in rows)
    if target != STDOUT:
        print(f"{many(len(rows), 'record')} written to {target}", file=sys.stderr)


@contextmanager
def _opened(target: str) -> Iterator[TextIO]:
    """The file, which must not exist yet."""
    if target == STDOUT:
        yield sys.stdout
        return
    try:
        with Path(target).open("x", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise UsageFault(f"--export {target}: {error.strerror or error}") from error


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)


_NONE: Final = QuarantineEntry("", "", "", "", None, 0)


def compact(value: Any) -> str | None:
    """A value in DynamoDB JSON on one line; None: there is none."""
    return None if value is None else json_library.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _scalar(value: Mapping[str, Any] | None) -> str | None:
    """The text of a key's attribute."""
    return None if value is None else next((str(each) for each in value.values()), None)


def _described(described: "Described") -> dict[str, object]:
    return {"value": described.value, "itemKey": described.key}


def _kept(entry: QuarantineEntry) -> dict[str, object] | None:
    """What stays counted of the item, as in the table; null: its life is not over, or corrections do not count."""
    if entry.kept is None:
        return None
    image = entry.kept.counted
    if image is None:
        return {}
    day, at = image.played
    return {"playerId": image.player, "score": image.score, "date": day, "playedAt": at}


def _fields(entry: QuarantineEntry) -> dict[str, object]:
    """For `--json`: every key always; null where the row has none."""
    applied = entry.resolution if entry.state == EntryState.APPLIED else None
    discarded = entry.resolution if entry.state == EntryState.DISCARDED else None
    superseded = entry.resolution if entry.state == EntryState.SUPERSEDED else None
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
        "supersededAt": superseded.at if superseded else None,
        "kept": _kept(entry),
    }


def _state(entry: QuarantineEntry) -> str:
    """The state, and what led to it."""
    resolution = entry.resolution
    if resolution is None:
        return entry.state
    by = f"by {resolution.by}" if resolution.by else "by a later record of its item"
    text = f"{entry.state} {by} at {resolution.at}"
    if resolution.repairs:
        text += f" with {assignments(resolution.repairs)}"
    return f"{text}: {resolution.why}" if resolution.why else text


def assignments(values: Mapping[str, str]) -> str:
    """Repairs as an operator writes them."""
    return ", ".join(f"{field}={value}" for field, value in values.items())
