"""`consumer gaps list` and `acknowledge`: where data may be lost, and what an operator found out about it."""

import sys
from functools import partial

import click

from consumer.cli.app import LOGS, json_array, with_settings, yes
from consumer.cli.output import confirm, print_array, visible
from consumer.domain.errors import UsageFault
from consumer.domain.operator_ports import Gap
from consumer.settings import Settings


@click.group()
def gaps() -> None:
    """Lists where data may be lost, and acknowledges it."""


@gaps.command("list")
@json_array
@with_settings("quarantine_table", *LOGS)
def list_gaps(settings: Settings, json: bool) -> int:
    """Lists every gap: where data may be lost to the 24-hour trim, and what operators found out about it.

    \b
    Example:
      consumer gaps list
    """
    from consumer.wiring.operators import list_gaps as read_gaps

    found = read_gaps(settings)
    if json:
        print_array([gap_fields(gap) for gap in found])
        return 0
    if not found:
        print("There is no gap.", file=sys.stderr)
    for gap in found:
        print(f"{gap.name}\n  to {gap.end or 'not known yet'}, loss {gap.loss}, found {gap.found_at}")
        if gap.acknowledged is not None:
            by, at, why = gap.acknowledged
            print(f"  acknowledged by {by} at {at}: {visible(why)}")
    return 0


@gaps.command()
@click.argument("gap", nargs=-1, required=True, metavar="GAP...", help="Names as `consumer gaps list` shows them.")
@click.option("--because", required=True, metavar="TEXT", help="What you found out. It is kept.")
@yes
@with_settings("quarantine_table", *LOGS)
def acknowledge(settings: Settings, gap: tuple[str, ...], because: str, yes: bool) -> int:
    """Marks gaps as acknowledged: you have found out whether games were lost, and mended it.

    Asks first. `consumer status` then counts them as acknowledged; their rows stay. Leaves an audit row per gap.

    \b
    Example:
      consumer gaps acknowledge GAP --because "no game was written that night"

    \b
    Exit codes:
      0  done                           4  acknowledged already, or not confirmed
      2  no reason                      5  no such gap
      3  AWS refuses or is not there
    """
    from consumer.wiring.operators import acknowledge_gaps

    if not because.strip():
        raise UsageFault("--because is empty: say what you found out about the gap")
    acknowledge_gaps(settings, gap, because, partial(confirm, "Acknowledge them?", yes=yes))
    for name in dict.fromkeys(gap):
        print(f"acknowledged {name}")
    return 0


def gap_fields(gap: Gap) -> dict[str, object]:
    """The machine form; its shape is a contract."""
    by, at, why = gap.acknowledged or (None, None, None)
    return {
        "gap": gap.name,
        "streamArn": gap.stream_arn,
        "shardId": gap.shard_id,
        "from": gap.start,
        "to": gap.end,
        "loss": gap.loss,
        "foundAt": gap.found_at,
        "acknowledgedAt": at,
        "acknowledgedBy": by,
        "acknowledgeReason": why,
    }
