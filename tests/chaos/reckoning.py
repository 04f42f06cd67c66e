"""What must hold at the end, whatever happened before."""

from typing import Any

from tests.chaos.account import Account, key_of, read_gaps
from tests.chaos.crew import Crew
from tests.chaos.plan import Plan
from tests.processes import Game, differences
from tests.streams_server import Remote, assert_one_committer


def reckon(plan: Plan, game: Game, remote: Remote, crew: Crew, complaints: list[str]) -> dict[str, Any]:
    """Adds to the complaints; figures for a summary. Of a run that failed already, only what is wrong for sure."""
    over = not complaints
    complaints += crew.complaints
    moves = 0
    log = remote.transactions()
    try:
        moves = assert_one_committer(log)
    except AssertionError as failure:
        complaints.append(f"the log of transactions: {failure}")
    shards, quarantine = remote.shards(), game.rows("quarantine")
    gaps = read_gaps(quarantine)
    account = Account(remote.records(), shards, log, gaps, {key_of(item) for item in game.poison})
    if over:
        complaints += account.complaints + _tables(game, account)
        if not plan.trims:
            complaints += _as_written(game, account, sum(map(len, gaps.values())))
    counts = remote.counts()
    return {
        "records": sum(shard.records for shard in shards),
        "shards": len(shards),
        "blows": crew.blows(),
        "exits": crew.exits(),
        "faults": sum(counts.faults.values()),
        "conflicts": counts.conflicts,
        "moves": moves,
        "poison": len(account.poison),
        "ignored": account.ignored,
        "gaps": sum(map(len, gaps.values())),
        "lost": account.lost,
    }


def _tables(game: Game, account: Account) -> list[str]:
    """Board and quarantine are what the account says; no shard has an owner any more."""
    found = []
    if wrong := differences(game.board(), account.tally.rows):
        found.append(f"{len(wrong)} rows of the board are wrong, such as {wrong[:5]}")
    stored = {place: record["dynamodb"]["NewImage"] for place, record in game.quarantined_by_shard().items()}
    right = {place: record["dynamodb"]["NewImage"] for place, record in account.poison.items()}
    if stored != right:
        odd = {place for place in stored.keys() | right.keys() if stored.get(place) != right.get(place)}
        found.append(f"{len(odd)} records in quarantine are not exactly the poison, such as {sorted(odd)[:5]}")
    owned = [row for row in game.rows("lease") if "leaseOwner" in row and row["checkpoint"]["S"] != "SHARD_END"]
    if owned:
        found.append(f"{len(owned)} shards have an owner still, such as {owned[0]}")
    return found


def _as_written(game: Game, account: Account, gaps: int) -> list[str]:
    """Nothing was trimmed: the account is what the writer counted, and there is no gap."""
    found = []
    if account.tally.rows != game.tally.rows or len(account.poison) != len(game.poison):
        found.append(f"{account.tally.games} games and {len(account.poison)} poison records are accounted for")
    if gaps or account.lost:
        found.append(f"{gaps} gaps, {account.lost} records lost, though nothing was trimmed")
    return found
