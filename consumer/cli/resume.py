"""`consumer resume`: closes the circuits of halted shards, after it has shown what waits in them."""

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from shutil import get_terminal_size
from textwrap import TextWrapper
from typing import TYPE_CHECKING

import click

from consumer.cli.app import LOGS, RULES, TABLES, json_document, switch, with_settings, yes
from consumer.cli.output import confirm, counting, print_array, to_json, visible
from consumer.domain.errors import UnsafeRefused, UsageFault
from consumer.domain.text import breakdown, many, quoted
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.resume import Resumed
    from consumer.operations.waiting import Waiting


@click.command()
@click.argument("shards", metavar="[SHARD]...", nargs=-1, help="Ids of halted shards, or LABEL/ID.")
@switch("--all", "everywhere", help="All shards that are halted.")
@switch("--quarantine-all", help="Let everything up to a shard's current newest record pass.")
@click.option("--accept-mark", metavar="PLAYER", help="Take the mark off this player's row; asks first.")
@yes
@json_document
@with_settings(*TABLES, *LOGS, without_flags=RULES)
def resume(
    settings: Settings,
    shards: tuple[str, ...],
    *,
    everywhere: bool,
    quarantine_all: bool,
    accept_mark: str | None,
    yes: bool,
    json: bool,
) -> int:
    """Lets shards go on that halted: most of the last records were poison, or a row has a mark that is not known.

    It reads what waits behind the checkpoints, up to 20,000 records of a shard, and shows how many are good, how many
    are poison and why, by the attributes of this command's settings. Then it asks. What only the database refuses shows
    when it is written.

    The breaker counts from zero again: if the poison goes on, the shard halts again. With --quarantine-all everything
    that the shard holds at this moment passes, good records counted and poison into quarantine; then the breaker is
    armed again. Its owner needs no restart and goes on at once.

    A row's mark says which games are in it. If its shard is in neither the lease table nor the stream, the shard halts
    (mark_unknown). Without a flag the row and that shard are looked up again: it halts again unless the cause is gone.
    With --accept-mark PLAYER the mark is removed, and the games that follow in this shard are added. They are counted
    twice if they are in the row already, and so are games of the mark's shard if a worker reads it after all. The
    command shows the mark and asks; it refuses if the halt names another player, or if the row has changed.

    \b
    Example:
      consumer resume --all
      consumer resume shardId-00000001769860800000-00000000 --quarantine-all
      consumer resume shardId-00000001769860800000-00000000 --accept-mark ada

    \b
    Exit codes:
      0  done                      4  refused, changed meanwhile, or not confirmed
      2  wrong flags or settings   5  no such shard, or no row of that player
      3  AWS refuses or is not there
    """
    # In one piece: its flags and their help are most of it.
    _check(shards, everywhere=everywhere, quarantine_all=quarantine_all, accept_mark=accept_mark)
    from consumer.wiring.operators import resume_shards

    agree = partial(_agree, quarantine_all=quarantine_all, accepting=accept_mark is not None, yes=yes)
    progress = partial(counting, 0, "reading what waits")
    rows, refused = [], 0
    for waiting, done in resume_shards(
        settings, shards, agree, progress, quarantine_all=quarantine_all, player=accept_mark
    ):
        if isinstance(done, UnsafeRefused):
            refused += 1
            print(done, file=sys.stderr)
        elif json:
            rows.append(_fields(waiting, done))
        else:
            _print_done(waiting, done, quarantine_all=quarantine_all)
    if json and (everywhere or len(shards) > 1):
        print_array(rows)
    elif rows:
        print(to_json(rows[0]))
    return UnsafeRefused.exit_code if refused else 0


def _check(shards: Sequence[str], *, everywhere: bool, quarantine_all: bool, accept_mark: str | None) -> None:
    """Raises UsageFault for flags that do not fit together."""
    if everywhere == bool(shards):
        raise UsageFault(
            "--all is for every halted shard: leave out the names, or --all"
            if everywhere
            else "name the halted shards, as `consumer status` shows them, or add --all"
        )
    if quarantine_all and accept_mark is not None:
        raise UsageFault(
            "--quarantine-all is for a flood of poison and --accept-mark for a mark: leave out one of them"
        )
    if accept_mark is not None and len(shards) != 1:
        raise UsageFault("--accept-mark is for the one shard that is halted for that player's row: name it")


def _agree(
    waiting: Sequence["Waiting"], sentences: Sequence[str], *, quarantine_all: bool, accepting: bool, yes: bool
) -> None:
    """Shows what waits, with `sentences` on a mark or on what is left alone. Raises UnsafeRefused unless confirmed."""
    lines = [line for each in waiting for line in _lines(each, accepting=accepting)]
    if not waiting:
        confirm("", [*sentences, "No shard is halted that this can resume."], yes=True)
        return
    ahead = _ahead(waiting)
    if quarantine_all:
        then, question = "What is good is counted, what is poison goes into quarantine.", f"Let {ahead} pass?"
    elif accepting:
        then, question = "", f"Accept the mark, and go on to {ahead}?"
    else:
        then, question = "If most of that is poison, it halts again before it.", f"Go on to {ahead}?"
    shown = _fitted([*lines, *sentences, *filter(None, [then])])
    confirm("\n".join(_fitted([question], less=len(" [y/N]: "))), shown, yes=yes)


def _fitted(lines: Sequence[str], less: int = 0) -> list[str]:
    """As wide as the terminal, and `less`, by words; whole lines where stderr is no terminal."""
    if not sys.stderr.isatty():
        return [*lines]
    fit = TextWrapper(get_terminal_size().columns - less, subsequent_indent="    ", break_long_words=False).wrap
    return [part for line in lines for part in fit(line)]


def _lines(waiting: "Waiting", *, accepting: bool) -> list[str]:
    """What is known of a halted shard, and of the records behind its checkpoint."""
    row = waiting.row
    lines = [f"Shard {row.shard} is halted", f"  behind {row.checkpoint}:", f"  {visible(row.circuit.cause)}"]
    if row.circuit.unknown_mark is not None and not accepting:
        lines.append("  Without --accept-mark it halts again, unless that has changed.")
    if waiting.trimmed:
        lines.append("  Records behind that may be gone from the stream, which keeps 24 hours: those are lost.")
    if waiting.unknown is not None:
        return [*lines, f"  What waits behind that is unknown: {visible(waiting.unknown)}"]
    if not waiting.read:
        return [*lines, "  The stream shows no record behind that."]
    ignored = f", {waiting.ignored:,} ignored" if waiting.ignored else ""
    least = "" if waiting.whole else "at least "
    lines.append(f"  {least}{many(waiting.read, 'record')}: {_kinds(waiting.good, waiting.poison)}{ignored}")
    lines += [
        f"  {reason}: {visible(text)}, as in record {number}"
        for reason, (number, text) in sorted(waiting.examples.items())
    ]
    if not waiting.whole:
        lines.append(f"  More follow behind {waiting.newest}: they were not looked at.")
    return lines


def _ahead(waiting: Sequence["Waiting"]) -> str:
    """What waits in all of these shards, as a part of a sentence."""
    poison = sum((each.poison for each in waiting), start=Counter[str]())
    text = _kinds(sum(each.good for each in waiting), poison)
    if any(each.unknown is not None for each in waiting):
        text = "records of which some could not be read" if len(waiting) > 1 else "records that could not be read"
    elif not all(each.whole for each in waiting):
        text = f"at least {text}"
    return f"{text} in {len(waiting)} shards" if len(waiting) > 1 else text


def _kinds(good: int, poison: "Counter[str]") -> str:
    reasons = f" ({breakdown(poison)})" if poison else ""
    return f"{good:,} good and {poison.total():,} poison{reasons}"


def _print_done(waiting: "Waiting", done: "Resumed", *, quarantine_all: bool) -> None:
    passed = ""
    if quarantine_all:
        passed = f"; {many(waiting.read, 'record')} up to {done.free_to} pass" if done.free_to else "; no record waits"
    if done.accepted is not None:
        passed = f"; the row of player {quoted(done.accepted.player)} has no mark any more"
    print(f"Shard {done.shard} goes on behind {done.checkpoint}{passed}")


def _fields(waiting: "Waiting", done: "Resumed") -> dict[str, object]:
    """Keys as in the tables; the others say what waits."""
    player, mark = done.accepted if done.accepted is not None else (None, None)
    known = waiting.unknown is None
    return {
        "shardId": done.shard.shard_id,
        "checkpoint": done.checkpoint,
        "freeTo": done.free_to,
        "records": waiting.read if known else None,
        "whole": waiting.whole,
        "good": waiting.good if known else None,
        "ignored": waiting.ignored if known else None,
        "poison": dict(sorted(waiting.poison.items())) if known else None,
        "playerId": player,
        "appliedShard": mark and mark.shard,
        "appliedTo": mark and mark.to,
    }
