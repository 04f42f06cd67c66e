"""Ten thousand records, a tenth of them poison of all kinds, and ten kills: board and quarantine are exact."""

import random
import secrets
import time
from collections import Counter

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Proxy, is_commit, until
from tests.support.processes.game import Item
from tests.support.processes.in_flight import kill_in_flight
from tests.support.processes.poison import KINDS, STORED, Matches, kinds_of

RECORDS = 10_000
PLAYERS = 500
STORED_PLAYERS = 8
"""Per kind of row that makes games poison: how many players have one."""
KILLS = 10
MOST_COMMITS = 10
"""How many transactions pass at most before the one with which a worker is killed."""


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_ten_kills_among_poison(fresh_engine: TableEngine) -> None:
    number = secrets.randbelow(10**6)
    print(f"{fresh_engine.name}, seed {number}")
    seed = random.Random(number)
    began = time.monotonic()
    with Matches(fresh_engine, number) as matches, Proxy(fresh_engine.url) as proxy:
        matches.put(_records(matches, seed))
        places = {played.sequence_number: place for place, played in enumerate(matches.played(), start=1)}
        assert len(places) == RECORDS
        written = time.monotonic()

        def place() -> int:
            return places.get(matches.checkpoint() or "", 0)

        met: Counter[str] = Counter()
        for kill in range(KILLS):
            worker = matches.worker(proxy)
            least = kill * RECORDS // (KILLS + 1)
            until(lambda least=least: place() >= least, f"place {least}", 120)  # type: ignore[misc]
            met[kill_in_flight(proxy, is_commit, worker.kill, seed, MOST_COMMITS)] += 1
            assert place() < RECORDS, "records remain"
        matches.worker(proxy)
        matches.wait_until_consumed(180)
        matches.assert_exact()
        ended = time.monotonic()
        refused = len(proxy.matching(lambda call: is_commit(call) and not call.applied))

    reasons = Counter(matches.reasons.values())
    print(
        f"{RECORDS:,} records, {len(matches.reasons):,} of them poison for {len(reasons)} reasons ({dict(reasons)}); "
        f"{met.total()} SIGKILLs with a transaction in flight ({dict(met)}), {refused:,} transactions refused or lost; "
        f"{matches.expected.games:,} games exact; written in {written - began:.0f} s, "
        f"consumed in {ended - written:.0f} s"
    )
    assert met.total() == KILLS
    assert abs(len(matches.reasons) - RECORDS / 10) < RECORDS / 50


def _records(matches: Matches, seed: random.Random) -> list[Item]:
    """Good games, some of players whose row refuses games, and poison of random kinds."""
    stored = {f"{kind} {number}": kind for kind in kinds_of(matches.engine) for number in range(STORED_PLAYERS)}
    for player, kind in stored.items():
        matches.store(player, kind)
    selective = [player for player, kind in stored.items() if STORED[kind].good]
    records: list[Item] = []
    for _ in range(RECORDS):
        player = f"player-{seed.randrange(PLAYERS):03}"
        if seed.random() < 0.1:
            kind = seed.choice([*KINDS, *kinds_of(matches.engine)])
            if kind in KINDS:
                records.append(matches.poisoned(player, kind))
            else:
                player = seed.choice([player for player in stored if stored[player] == kind])
                records.append(matches.refused(player, kind))
        elif selective and seed.random() < 0.03:
            player = seed.choice(selective)
            records.append(matches.good(player, STORED[stored[player]].good))
        else:
            records.append(matches.good(player))
    return records
