"""`consumer resume`: closes the circuits of halted shards. It may let everything pass that a shard holds now, or accept
a row's mark.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import inf

from consumer.domain.audit import AuditEntry
from consumer.domain.errors import NotFound, UnsafeRefused
from consumer.domain.leases import LeaseRow, Ledger, Shard, TableBinding
from consumer.domain.marks import Route, StoredRow, lineage_of, route
from consumer.domain.operator_ports import AcceptedMark, Circuits
from consumer.domain.replies import Done, Lost, RowRefused
from consumer.domain.text import quoted
from consumer.operations.steps import Command, OperatorCall, ask, find_in_ledger


@dataclass(frozen=True, slots=True)
class Resumed:
    """The shard goes on after `checkpoint`. All records up to `free_to` pass; None: the breaker counts each of them.

    `accepted`: the mark that was taken off a row.
    """

    shard: Shard
    checkpoint: str
    free_to: str | None = None
    accepted: AcceptedMark | None = None


def find_halted(ledger: Ledger, name: str) -> LeaseRow:
    """The row of a halted shard. Raises NotFound for an unknown shard, UnsafeRefused for one that is not halted."""
    shard, row = find_in_ledger(ledger, name)
    if row is None:
        raise UnsafeRefused(
            f"shard {shard} has no row in the lease table: `resume` is for a shard that its circuit breaker halted. If "
            f"the row was lost, next: `consumer checkpoint set {shard} POSITION`, which writes it again"
        )
    if row.circuit.halted_at is None:
        raise UnsafeRefused(f"shard {shard} is {'finished' if row.finished else 'not halted'}: nothing to resume")
    return row


def choose_halted(ledger: Ledger, names: Collection[str], *, quarantine_all: bool) -> tuple[list[LeaseRow], list[str]]:
    """The rows of the halted shards of these names, without names of all that this can help; and what is left alone."""
    if names:
        rows = {row.shard: row for row in (find_halted(ledger, name) for name in names)}
        return list(rows.values()), []
    halted = sorted((row for row in ledger.rows if row.circuit.halted_at is not None), key=lambda row: row.shard)
    helped = [row for row in halted if not (quarantine_all and row.circuit.unknown_mark)]
    left = [
        f"Shard {row.shard} is left alone: {row.circuit.cause}. Next: `consumer resume "
        f"{row.shard}{row.circuit.resume_options}`"
        for row in halted
        if row not in helped
    ]
    left += [
        f"Shard {shard} is left alone: its row is missing. Next: `consumer checkpoint set {shard} POSITION`"
        for shard in sorted(ledger.missing)
    ]
    return helped, left


def resume(
    row: LeaseRow,
    circuits: Circuits,
    who: str,
    at: float,
    token: str,
    *,
    free_to: str | None = None,
    accepted: AcceptedMark | None = None,
    board: str = "",
) -> Command[Resumed | Lost | RowRefused]:
    """Closes the circuit. Lost: another operator or worker changed the shard's row first; RowRefused: the player's row.

    `free_to`: up to there everything passes. `accepted`: the mark of a row of the leaderboard `board` goes away.
    """
    detail = {"outcome": "resumed", "checkpoint": row.checkpoint}
    if free_to is not None:
        detail["freeTo"] = free_to
    if accepted is not None:
        player, mark = accepted
        detail |= {"player": player, "markShard": mark.shard, "markTo": mark.to, "leaderboardTable": board}
    audit_entry = AuditEntry(who, at, "resume", str(row.shard), detail)
    close = partial(circuits.resume, row, free_to, token, audit_entry, accepted)
    reply = yield from ask(OperatorCall.RESUME, close)
    return Resumed(row.shard, row.checkpoint, free_to, accepted) if isinstance(reply, Done) else reply


def require_unknown_mark(row: LeaseRow, player: str) -> None:
    """Raises UnsafeRefused unless the shard is halted for the mark of this player's row."""
    symptom = row.circuit.unknown_mark
    if symptom is None:
        raise UnsafeRefused(
            f"shard {row.shard} is not halted for a mark: {row.circuit.cause}. Nothing was changed. --accept-mark does "
            f"not help. Next: `consumer resume {row.shard}`"
        )
    if symptom.player != player:
        raise UnsafeRefused(
            f"shard {row.shard} is not halted for the row of player {quoted(player)}: {symptom.detail}. Nothing was "
            f"changed. Next: `consumer resume {row.shard}{row.circuit.resume_options}`"
        )


def refuse_other_board(row: LeaseRow, board: str, binding: TableBinding | None) -> None:
    """Raises UnsafeRefused when the configured leaderboard is not the one into which the shard is counted."""
    if binding is not None and binding.leaderboard_table != board:
        raise UnsafeRefused(
            f"shard {row.shard} is counted into {binding.leaderboard_table}, and the configured leaderboard is "
            f"{board}. Nothing was changed. Next: correct CONSUMER_LEADERBOARD_TABLE"
        )


def mark_to_accept(row: LeaseRow, player: str, stored: StoredRow, ledger: Ledger, board: str) -> AcceptedMark:
    """The mark of the player's row, for which the shard is halted.

    Raises NotFound when there is no such row, UnsafeRefused when a worker knows by now what to do with it: to count
    what follows as if there were no mark could then count it twice.
    """
    again = f"Nothing was changed. Next: `consumer resume {row.shard}`, which reads the row again"
    if not stored.exists:
        raise NotFound(f"leaderboard {board} has no row of player {quoted(player)}. {again}")
    if stored.mark is None:
        raise UnsafeRefused(f"the row of player {quoted(player)} has no mark any more. {again}")
    if route(stored, str(row.shard), lineage_of(ledger), -inf) is not Route.UNKNOWN:
        raise UnsafeRefused(
            f"the row of player {quoted(player)} now has a mark of the shard {stored.mark.shard} (up to "
            f"{stored.mark.to}), which the lease table knows. {again}"
        )
    return AcceptedMark(player, stored.mark)


def sentences_on(accepted: AcceptedMark, row: LeaseRow, board: str) -> tuple[str, ...]:
    """What the row says, what happens to it, and the risk, for the operator who is asked to confirm it."""
    player, mark = quoted(accepted.player), accepted.mark
    created = datetime.fromtimestamp(mark.created, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    says = (
        f"The row of player {player} in {board} has a mark: all games of the shard {mark.shard} up to {mark.to} "
        f"(created {created}) are in it. Neither the lease table nor the stream knows that shard."
    )
    happens = (
        f"If the mark is accepted, it is removed, and the row's numbers stay. Shard {row.shard} goes on behind "
        f"{row.checkpoint}: the games of this player that follow there are added."
    )
    risk = (
        f"If a worker reads the shard {mark.shard} after all, or if games that follow in {row.shard} are in the row "
        "already, they are counted twice."
    )
    return says, happens, risk


def row_changed(accepted: AcceptedMark, refused: RowRefused) -> UnsafeRefused:
    """Why the mark was not accepted."""
    mark = refused.row.mark
    now = f"a mark of the shard {mark.shard} (up to {mark.to})" if mark is not None else "no mark"
    return UnsafeRefused(
        f"changed concurrently: the row of player {quoted(accepted.player)} has {now} by now. Nothing was changed by "
        "this command. Next: the same command again, which shows the row"
    )


def changed_concurrently(shard: Shard, lost: Lost) -> UnsafeRefused:
    """Why the circuit was not closed."""
    row = lost.row
    now = "its row is gone" if row is None else f"it was resumed {row.circuit.resumes} times by now"
    return UnsafeRefused(
        f"changed concurrently: another operator or worker changed shard {shard} first, {now}. Nothing was changed by "
        "this command. Next: `consumer status`"
    )
