"""Two source tables, or two sets of rules, on one lease table: in whatever order they start, one is refused."""

from itertools import product

import pytest

from consumer.domain.errors import UnsafeRefused
from consumer.domain.leases import TRIM_HORIZON, Origin, StreamStart, TableBinding, table_arn_of
from consumer.domain.records import Rules
from consumer.domain.replies import Done
from consumer.worker.calls import Ports, execute
from consumer.worker.stream_start import StreamStarter
from tests.support.builders import ARN, CREATED
from tests.support.fakes import FakeStreams, FakeTables

OTHER = ARN.replace("GameEvents", "Others").replace("2026-01-01", "2026-01-02")
LATER = ARN.replace("2026-01-01", "2026-02-02")
RULES = Rules()
MOST_STEPS = 9


class Start:
    """A worker's start of one source's stream, call by call."""

    def __init__(self, stream_arn: str, tables: FakeTables, rules: Rules = RULES) -> None:
        streams = FakeStreams(lambda: CREATED, stream_arn)
        streams.add_shard("shard-0")
        self.starter = StreamStarter(stream_arn, TRIM_HORIZON, 1, tables.names, rules)
        self.refused = False
        self._ports = Ports(streams, tables, tables, tables, rules)

    def step(self) -> None:
        if not self.refused and not self.starter.complete:
            call = self.starter.next_call()
            try:
                self.starter.take(call, execute(call, self._ports))
            except UnsafeRefused:
                self.refused = True


def outcomes(*off: str, second: str = OTHER, rules: Rules = RULES) -> list[tuple[int, int, int]]:
    """For each order of steps: how many are started, how many refused, and the streams of how many tables are known."""
    found = []
    for order in product((0, 1), repeat=MOST_STEPS):
        tables = FakeTables(off=off)
        starts = Start(ARN, tables), Start(second, tables, rules)
        for number in (*order, *(0, 1) * MOST_STEPS):
            starts[number].step()
        known = {table_arn_of(stream_arn) for stream_arn in tables.stream_starts}
        found.append(
            (sum(start.starter.complete for start in starts), sum(start.refused for start in starts), len(known))
        )
    return found


def test_of_two_sources_that_start_at_once_one_is_first_and_one_is_refused() -> None:
    assert set(outcomes()) == {(1, 1, 1)}


def test_of_two_sets_of_rules_that_start_at_once_one_is_first_and_one_is_refused() -> None:
    assert set(outcomes(second=ARN, rules=Rules(score_attribute="points"))) == {(1, 1, 1)}


def test_without_the_condition_on_the_rules_both_may_start() -> None:
    assert (2, 0, 2) in outcomes("start_rules")


# --- what is another source ---

TABLES = FakeTables().names
BINDING = TableBinding(ARN, *TABLES[:2])
COMPLETE = StreamStart(ARN, None, ("shard-0",), complete=True)


@pytest.mark.parametrize(
    "origin",
    [
        Origin(None, None, ((BINDING, COMPLETE),)),
        Origin(None, None, source_tables=frozenset({table_arn_of(ARN)})),
        Origin(COMPLETE, BINDING),
    ],
    ids=["by a binding", "by the lease table alone", "by a stream with the same label"],
)
@pytest.mark.parametrize(
    "stream_arn",
    [OTHER, LATER.replace("123456789012", "210987654321"), LATER.replace("eu-west-1", "us-east-1")],
    ids=["another table", "another account", "another region"],
)
def test_a_stream_of_another_table_is_refused_with_both_names_and_the_cures(origin: Origin, stream_arn: str) -> None:
    starter = StreamStarter(stream_arn, TRIM_HORIZON, 1, TABLES)
    with pytest.raises(UnsafeRefused) as refused:
        starter.take(starter.next_call(), origin)
    sentence = str(refused.value)
    for part in (table_arn_of(ARN), table_arn_of(stream_arn), "CONSUMER_SOURCE_TABLE", "CONSUMER_LEADERBOARD_TABLE"):
        assert part in sentence
    assert not starter.tables_checked, "the worker has not joined"


def test_another_stream_of_the_same_table_is_the_same_source() -> None:
    """It was switched off and on, or the table was deleted and made again."""
    tables = FakeTables()
    for stream_arn in (ARN, LATER):
        start = Start(stream_arn, tables)
        for _ in range(MOST_STEPS):
            start.step()
        assert start.starter.complete
    assert tables.stream_starts.keys() == {ARN, LATER}


def test_a_lease_table_that_has_counted_two_sources_goes_on_with_both() -> None:
    tables = FakeTables()
    for stream_arn in (ARN, OTHER):
        counted = StreamStart(stream_arn, None, ("shard-0",), complete=True)
        assert tables.record_stream_start(counted, None, CREATED) == Done()
    start = Start(LATER, tables)
    for _ in range(MOST_STEPS):
        start.step()
    assert start.starter.complete
