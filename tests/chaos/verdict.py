"""What must hold at the end of a run, whatever happened before, and its summary in one line."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.chaos.account import Account, key_of, read_gaps
from tests.chaos.cluster import Cluster
from tests.chaos.plan import Kind, Plan
from tests.streams_server import Remote, assert_one_committer
from tests.support.processes import Game, differences


@dataclass(frozen=True)
class Summary:
    """`drained`: seconds from the end of the faults until every record was committed."""

    plan: Plan
    records: int
    shards: int
    strikes: Counter[Kind]
    exits: Counter[int]
    faults: int
    blocked_logs: int
    credential_faults: int
    conflicts: int
    moves: int
    poison: int
    ignored: int
    gaps: int
    lost: int
    drained: float
    seconds: float

    def __str__(self) -> str:
        key = "player" if self.plan.keyed else "match"
        kinds = ", ".join(f"{self.strikes[kind]} {kind.name.lower()}" for kind in Kind)
        codes = ", ".join(f"{count} x {code}" for code, count in sorted(self.exits.items()))
        return (
            f"seed {self.plan.seed}, by {key}: {self.records:,} records, {self.shards} shards, "
            f"{self.strikes.total()} strikes ({kinds}), exits ({codes}), {self.faults:,} faults, "
            f"{self.blocked_logs} blocked logs, {self.credential_faults} credential faults, "
            f"{self.conflicts:,} conflicts, {self.moves:,} moves, {self.poison} poison, {self.ignored} ignored, "
            f"{self.gaps} gaps, {self.lost} lost, drained after {self.drained:.1f} s, {self.seconds:.0f} s in all"
        )


def judge(plan: Plan, game: Game, remote: Remote, cluster: Cluster, errors: list[str]) -> dict[str, Any]:
    """Adds to the errors and returns figures for the summary. After a failed run only certain errors are added."""
    finished = not errors
    errors += cluster.errors
    moves = 0
    log = remote.transactions()
    try:
        moves = assert_one_committer(log)
    except AssertionError as failure:
        errors.append(f"the log of transactions: {failure}")
    shards, quarantine = remote.shards(), game.rows("quarantine")
    gaps = read_gaps(quarantine)
    account = Account(remote.records(), shards, log, gaps, {key_of(item) for item in game.poison})
    if finished:
        errors += account.errors + _wrong_tables(game, account)
        if not plan.trims:
            errors += _not_as_written(game, account, sum(map(len, gaps.values())))
    counts = remote.counts()
    return {
        "records": sum(shard.records for shard in shards),
        "shards": len(shards),
        "strikes": cluster.strikes(),
        "exits": cluster.exits(),
        "faults": sum(counts.faults.values()),
        "conflicts": counts.conflicts,
        "moves": moves,
        "poison": len(account.poison),
        "ignored": account.ignored,
        "gaps": sum(map(len, gaps.values())),
        "lost": account.lost,
    }


def _wrong_tables(game: Game, account: Account) -> list[str]:
    """Board and quarantine must be as the account has them, and no shard may have an owner."""
    found = []
    wrong = differences(game.board(), account.expected.rows)
    if wrong := [each for each in wrong if not account.ahead(each.player, each.stored)]:
        found.append(f"{len(wrong)} rows of the board are wrong, such as {wrong[:5]}")
    stored = {place: record["dynamodb"]["NewImage"] for place, record in game.quarantined_by_shard().items()}
    right = {place: record["dynamodb"]["NewImage"] for place, record in account.poison.items()}
    if stored != right:
        odd = {place for place in stored.keys() | right.keys() if stored.get(place) != right.get(place)}
        found.append(f"{len(odd)} records in quarantine are not exactly the poison, such as {sorted(odd)[:5]}")
    owned = [row for row in game.rows("lease") if "leaseOwner" in row and row["checkpoint"]["S"] != "SHARD_END"]
    if owned:
        found.append(f"{len(owned)} shards still have an owner, such as {owned[0]}")
    return found


def _not_as_written(game: Game, account: Account, gaps: int) -> list[str]:
    """Nothing was trimmed: the account must be what the writer counted, without gaps."""
    found = []
    if account.expected.rows != game.expected.rows or len(account.poison) != len(game.poison):
        found.append(f"{account.expected.games} games and {len(account.poison)} poison records are accounted for")
    if gaps or account.lost:
        found.append(f"{gaps} gaps, {account.lost} records lost, though nothing was trimmed")
    return found
