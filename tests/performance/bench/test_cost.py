"""docs/cost.md is what its own counts and prices say, and a unit that differs from its count is an error."""

import pytest

from tests.performance.bench import cost
from tests.performance.bench.cost import AT_LEAST_ONCE, IDEMPOTENT, MARKED, TRANSACTIONS, Case, CostMismatch, Counted
from tests.performance.bench.report import COST, README, content_of, placed
from tests.performance.bench.units import Units

PRICES = {
    "write unit": 0.625,
    "read unit": 0.125,
    "stream read": 0.2,
    "free stream reads": 2.5,
    "vCPU hour": 0.04,
    "GB hour": 0.004,
    "invocation": 0.2,
    "GB second": 0.00001,
    "trigger polls": 4,
    "trigger batch": 100,
    "write on AWS": 5,
    "transaction on AWS": 15,
    "function memory": 0.125,
}


def counts(writes_per_game: float = 0.5) -> list[Counted]:
    """Ten seconds of each case on a core that is a tenth busy."""
    return [
        Counted(case, 10 * case.rate, 1.0, Units(10.0, 10 * case.rate * writes_per_game, 0, 20, 10, 50))
        for case in cost.CASES
    ]


def test_a_month_of_the_worker_is_its_units_polls_and_container() -> None:
    line = {each.case: each for each in cost.lines(counts(), PRICES)}[Case("hot", MARKED, 100)]
    assert line.board_writes == pytest.approx(259.2 * 0.5 * 0.625)
    assert line.lease_table == pytest.approx(2.592 * (2 * 0.625 + 1 * 0.125))
    assert line.stream_reads == pytest.approx((5 * 2.592 - 2.5) * 0.2)
    assert line.compute == pytest.approx(720 * (0.25 * 0.04 + 0.5 * 0.004))
    assert line.per_million == pytest.approx(line.total / 259.2)


def test_lambda_pays_a_unit_per_record_and_four_for_a_transaction_of_two_actions() -> None:
    by_case = {each.case: each for each in cost.lines(counts(), PRICES)}
    once, twice = by_case[Case("wide", AT_LEAST_ONCE, 1_000)], by_case[Case("wide", IDEMPOTENT, 1_000)]
    assert (once.board_writes, twice.board_writes) == pytest.approx((2_592 * 0.625, 4 * 2_592 * 0.625))
    assert once.compute == pytest.approx(2.592 * 10 * 0.2 + 2_592_000 * 1_000 * 0.005 * 0.125 * 0.00001)
    assert (once.stream_reads, once.lease_table) == (0, 0)


def test_a_busy_worker_needs_a_larger_container() -> None:
    busy = [each._replace(cpu_seconds=3.0) for each in counts()]
    few, more = (cost.lines(found, PRICES)[3].compute for found in (counts(), busy))
    assert more == pytest.approx(2 * few)


def test_a_unit_that_differs_by_more_than_three_percent_is_an_error() -> None:
    document = f"<!-- bench:cost -->\n{cost.cost_tables(counts(0.5), PRICES)}<!-- /bench:cost -->"
    for near in (0.486, 0.5, 0.514):
        cost.check(document, counts(near))
    for far in (0.48, 0.52):
        with pytest.raises(CostMismatch, match=r"the document says 0\.5 write units per game"):
            cost.check(document, counts(far))
    with pytest.raises(CostMismatch, match="12 units, and 11 were counted"):
        cost.check(document, counts()[:-1])


def test_what_is_written_can_be_read() -> None:
    document = f"<!-- bench:counts -->\n{cost.counts_table(counts())}<!-- /bench:counts -->"
    assert cost.counts_of(document) == counts()


def test_the_document_and_the_readme_are_what_the_counts_and_the_prices_say() -> None:
    document, readme = COST.read_text(), README.read_text()
    found, prices = cost.counts_of(document), cost.prices_of(document)
    assert content_of(document, cost.PLACE).strip() == cost.cost_tables(found, prices).strip()
    assert content_of(readme, cost.PLACE) == cost.readme_table(found, prices)
    cost.check(document, found)


def test_a_changed_unit_in_the_document_is_found() -> None:
    document = COST.read_text()
    found = cost.counts_of(document)
    case = next(each for each in found if each.case == Case("hot", TRANSACTIONS, 100))
    content = content_of(document, cost.PLACE)
    wrong = content.replace(f"| {case.writes_per_game:.3f} |", f"| {case.writes_per_game * 1.04:.3f} |")
    assert wrong != content
    with pytest.raises(CostMismatch):
        cost.check(placed(document, cost.PLACE, wrong), found)


def test_every_price_has_its_place_in_the_list() -> None:
    assert cost.prices_of(COST.read_text()).keys() == PRICES.keys()
