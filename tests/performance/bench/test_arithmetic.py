"""The arithmetic of the figures: percentiles, write units, players, processor time, ratios and limits."""

import json
from collections import Counter
from itertools import islice
from typing import Any

import pytest

from tests.performance.bench.draining import Floor
from tests.performance.bench.live import row_writes, waited
from tests.performance.bench.report import FLOORS, HANDLERS, RATE, WRITES, runs_table
from tests.performance.bench.runs import HANDLER, WORKER, Run, different, zipf
from tests.performance.bench.units import Units, item_bytes, key_text, read_units, units, units_of, written_units
from tests.performance.figures import Figure, percentile
from tests.performance.usage import Sample, cpu_between
from tests.support.processes import Call


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "é€"}, 5),
        ({"N": "7"}, 2),
        ({"N": "-1234.50"}, 5),
        ({"N": "1" * 38}, 20),
        ({"N": "1200000"}, 2),
        ({"B": b"abc"}, 3),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"L": [{"S": "ab"}, {"N": "12"}]}, 3 + 2 + 2 + 2),
        ({"M": {"k": {"S": "ab"}}}, 3 + 1 + 1 + 2),
        ({"SS": ["ab", "c"]}, 3),
    ],
)
def test_the_size_of_an_item_is_that_of_its_names_and_values(value: dict[str, Any], size: int) -> None:
    assert item_bytes({"näme": value}) == 5 + size


def test_a_write_costs_a_unit_per_kilobyte_and_twice_that_in_a_transaction() -> None:
    assert [units(size) for size in (0, 1, 1_024, 1_025)] == [1, 1, 1, 2]
    large, small = {"k": {"S": "large"}}, {"k": {"S": "small"}}
    sizes = {("t", key_text(large)): 1_500, ("t", key_text(small)): 100}
    actions = [{"Update": {"TableName": "t", "Key": key}} for key in (large, small)]
    calls = [
        call("TransactWriteItems", {"TransactItems": actions}),
        call("UpdateItem", {"TableName": "t", "Key": large}),
        call("PutItem", {"TableName": "t", "Item": {"k": {"S": "x" * 3_000}}}),
        call("GetItem", {"TableName": "t", "Key": large}),
    ]
    assert [written_units(write, sizes)["t"] for write in calls] == [2 * 2 + 2 * 1, 2, 3, 0]


def test_each_statement_of_a_batch_is_a_write_also_a_refused_one() -> None:
    assert written_units(statements(), {})["board"] == 2
    assert written_units(statements(), {("board", key_text({"playerId": {"S": "ada"}})): 1_500})["board"] == 3


def test_a_read_costs_a_unit_per_four_kilobytes_and_half_if_eventually_consistent() -> None:
    keys = [{"k": {"S": name}} for name in ("large", "small", "missing")]
    sizes = {("t", key_text(keys[0])): 5_000, ("t", key_text(keys[1])): 100}
    reads = [
        call("BatchGetItem", {"RequestItems": {"t": {"Keys": keys}}}, {"Responses": {}}),
        call("BatchGetItem", {"RequestItems": {"t": {"Keys": keys, "ConsistentRead": True}}}, {"Responses": {}}),
        call("GetItem", {"TableName": "t"}, {}),
        call("Scan", {"TableName": "t", "ConsistentRead": True}, {"Items": [{"k": {"S": "x" * 3_000}}] * 3}),
    ]
    assert [read_units(read, sizes)["t"] for read in reads] == [2, 4, 0.5, 3]


def test_units_are_counted_by_table() -> None:
    move = {"TableName": "leases", "Key": {"leaseKey": {"S": "shard"}}}
    calls = [statements(), call("UpdateItem", move), call("GetRecords", {}), call("GetRecords", {})]
    counted = units_of(calls, {"leaderboard": "board", "lease": "leases"}, {}, 2.0)
    assert counted == Units(2.0, board_writes=2, lease_writes=1, polls=2)


def test_players_play_by_zipfs_law_and_the_same_ones_for_a_seed() -> None:
    played = Counter(islice(zipf(1_000, 1.0, seed=1), 50_000))
    harmonic = sum(1 / number for number in range(1, 1_001))
    ranked = [played[f"player-{number:06}"] for number in range(3)]
    assert ranked == pytest.approx([50_000 / harmonic / rank for rank in (1, 2, 3)], rel=0.1)
    assert played == Counter(islice(zipf(1_000, 1.0, seed=1), 50_000))
    assert sorted(different(1_000, seed=1)) == sorted(set(different(1_000, seed=2)))


def test_processor_time_covers_the_requested_times() -> None:
    samples = [Sample(at, cpu, 0.0) for at, cpu in [(1.0, 0.5), (2.0, 0.6), (3.0, 1.0), (4.0, 1.5)]]
    assert cpu_between(samples, 2.1, 2.9) == pytest.approx(0.4)
    assert cpu_between(samples, 0.0, 9.0) == pytest.approx(1.0)


def test_the_floor_is_a_records_share_of_the_pages() -> None:
    page = json.dumps({"Records": [{"dynamodb": {"SequenceNumber": str(number)}} for number in range(1_000)]})
    with Floor(page.encode()) as floor:
        assert 0.05 < floor.micros < 50


def test_a_limit_is_the_most_or_the_least() -> None:
    assert [Figure("x", value, limit=2.0).verdict for value in (1.9, 2.0, 2.1)] == ["ok", "ok", "over"]
    assert [Figure("x", value, limit=2.0, least=True).verdict for value in (1.9, 2.0, 2.1)] == ["over", "ok", "ok"]
    assert Figure("x", 1e9).ok
    assert Figure("x", 1e9).verdict == ""


def test_ratios_are_to_the_handler_on_the_same_engine() -> None:
    used = Units(2.0, board_writes=1_100, board_reads=500, lease_writes=4)
    ours = Run(WORKER, "a", 1_000, 1.0, 0.02, 5, used, 80.0, floor_micros=4.0, waits=[0.05, 0.1])
    others = [Run(HANDLER, name, 100, 1.0, cpu, 100, Units(1.0, 100), 50.0) for name, cpu in (("a", 0.01), ("b", 0.5))]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in runs_table([ours, *others]).splitlines()]
    row = dict(zip(lines[0], lines[2], strict=True))
    assert [row[heading] for heading in (RATE, HANDLERS, FLOORS)] == ["10.0", "5.00", "5.00"]
    assert [row[heading] for heading in ("write calls/record", "p50", "p99")] == ["0.0050", "50.0 ms", "100 ms"]
    assert [row[heading] for heading in (WRITES, "read units/game", "lease table: write units/s")] == [
        "1.10",
        "0.50",
        "2.00",
    ]
    assert lines[3][1:4] == ["", "", ""]


def call(operation: str, document: dict[str, Any], reply: dict[str, Any] | None = None) -> Call:
    made = Call(0, operation, json.dumps(document).encode())
    made.status, made.answered_at, made.answer = 200, 7.0, json.dumps(reply or {}).encode()
    return made


def statements() -> Call:
    """A row that was made, and one whose mark was not the expected one."""
    made = "INSERT INTO \"board\" VALUE {'playerId': ?, 'gamesPlayed': ?, 'appliedShard': ?, 'appliedTo': ?}"
    followed = 'UPDATE "board" SET gamesPlayed = gamesPlayed + ? SET appliedTo = ? WHERE playerId = ? AND appliedTo = ?'
    asked = [
        {"Statement": made, "Parameters": [{"S": "ada"}, {"N": "1"}, {"S": "shard"}, {"S": "12"}]},
        {"Statement": followed, "Parameters": [{"N": "1"}, {"S": "13"}, {"S": "bob"}, {"S": "11"}]},
    ]
    replies = [{"TableName": "board"}, {"Error": {"Code": "ConditionalCheckFailed"}}]
    return call("BatchExecuteStatement", {"Statements": asked}, {"Responses": replies})


def test_a_worker_writes_rows_in_all_three_ways() -> None:
    values = {":to": {"S": "5"}}
    alone = {"TableName": "board", "Key": {"playerId": {"S": "ada"}}, "ExpressionAttributeValues": values}
    lease = {"TableName": "leases", "Key": {"leaseKey": {"S": "x"}}, "ExpressionAttributeValues": {":last": {"S": "9"}}}
    plain = {"TableName": "board", "Key": {"playerId": {"S": "bob"}}, "ExpressionAttributeValues": {}}
    together = {"TransactItems": [{"Update": lease}, {"Update": plain}, {"Update": alone}]}
    assert list(row_writes(statements(), "board")) == [(7.0, "ada", 12)]
    assert list(row_writes(call("UpdateItem", alone), "board")) == [(7.0, "ada", 5)]
    assert list(row_writes(call("UpdateItem", lease), "board")) == []
    assert (
        list(row_writes(call("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "board"}}]}), "board"))
        == []
    )
    assert list(row_writes(call("TransactWriteItems", together), "board")) == [(7.0, "bob", 9), (7.0, "ada", 5)]


def test_a_game_waits_for_the_first_write_of_its_player_that_covers_it() -> None:
    writes = [(2.0, "ada", 10), (2.5, "bob", 40), (3.0, "ada", 30), (4.0, "ada", 20), (5.0, "ada", 40)]
    put = [(1.0, "ada", 5), (1.5, "ada", 10), (2.0, "ada", 11), (2.5, "ada", 40), (2.0, "bob", 40)]
    assert waited(put, writes) == [1.0, 0.5, 1.0, 2.5, 0.5]
