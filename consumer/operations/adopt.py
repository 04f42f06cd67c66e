"""`init --adopt`: the way on when birth rows and lease table do not match, so that `run` refuses to start."""

from collections.abc import Collection, Iterable
from typing import Final

from consumer.domain.audit import Trace
from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import Amendment, Birth, Pin
from consumer.domain.operator_ports import Births
from consumer.domain.outcomes import Done, Lost

ACT: Final = "init --adopt"


def amendments(births: Collection[Birth], pins: Collection[Pin], tables: tuple[str, str]) -> list[Amendment]:
    """What must be written so that birth rows and the pins of this lease table match; `tables`: lease, leaderboard."""
    born = {birth.stream_arn: birth for birth in births}
    pinned = {pin.stream_arn for pin in pins}
    found = []
    for stream_arn in sorted(born.keys() | pinned):
        before = born.get(stream_arn)
        right = Birth(stream_arn, *tables)
        after = right if stream_arn in pinned else None
        if before != after:
            found.append(Amendment(stream_arn, before, after, stream_arn in pinned))
    return found


def sentence(amendment: Amendment, tables: tuple[str, str]) -> str:
    """What is wrong, and what will happen when it is adopted."""
    lease_table, leaderboard = tables
    stream, before = amendment.stream_arn, amendment.before
    if amendment.after is None:
        assert before is not None
        return (
            f"Stream {stream} was counted into leaderboard {before.leaderboard_table} by lease table "
            f"{before.lease_table}. Lease table {lease_table} does not know how far. If this is adopted, the next "
            f"`run` begins the stream anew and counts into {leaderboard}: everything that the stream still has, up to "
            "24 hours of games, is counted a second time. With CONSUMER_START_POSITION=LATEST (or a time) it begins "
            "there instead, and earlier games that were not counted yet are skipped."
        )
    if before is None:
        return (
            f"Lease table {lease_table} knows stream {stream}; the quarantine table does not. If this is adopted, the "
            "worker goes on where it stood and nothing is counted twice; records that were quarantined before may be "
            "missing from this table."
        )
    return (
        f"Stream {stream} was counted into leaderboard {before.leaderboard_table} by lease table {before.lease_table}. "
        f"If this is adopted, lease table {lease_table} goes on where it stands and counts into {leaderboard}: games "
        "that another table has counted are missing there, or are counted a second time."
    )


def carry_out(births: Births, planned: Iterable[Amendment], who: str, at: float) -> None:
    """One transaction each. Raises UnsafeRefused when something is not as it was read; those before it are done."""
    for amendment in planned:
        judge(amendment, births.amend(amendment, trace(amendment, who, at)))


def trace(amendment: Amendment, who: str, at: float) -> Trace:
    """What the audit trail keeps of it."""
    before, after = amendment.before, amendment.after
    detail = {"birth": "removed" if after is None else "written"}
    if before is not None:
        detail |= {"leaseTable": before.lease_table, "leaderboardTable": before.leaderboard_table}
    return Trace(who, at, ACT, amendment.stream_arn, detail)


def judge(amendment: Amendment, reply: Done | Lost) -> None:
    """Raises UnsafeRefused when something is not as it was read."""
    if not isinstance(reply, Done):
        raise UnsafeRefused(
            f"somebody was faster: what belongs to stream {amendment.stream_arn} is not as it was read. "
            "Run it again to see what is left to adopt"
        )
