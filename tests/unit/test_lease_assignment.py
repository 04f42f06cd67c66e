"""Claims: of which shards, with which epoch, and what the reply means."""

import pytest

from consumer.domain.leases import SHARD_END
from consumer.domain.replies import Lost
from consumer.worker import events
from consumer.worker.calls import Reply
from consumer.worker.ledger_calls import Claim, Load
from tests.support.builders import ME, OTHER, lease, row
from tests.support.drivers import NO_ANSWER, TTL, CoordinatorDriver, kinds, members


def test_free_shards_are_claimed_with_a_higher_epoch() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0, epoch=7), row(1, epoch=9), row(2, checkpoint=SHARD_END)], members(w1_a=1))
    assert driver.machine.planned
    calls = {call for call in driver.start_due() if isinstance(call, Claim)}
    assert calls == {Claim(row(0, epoch=7), lease(0, ME, 8)), Claim(row(1, epoch=9), lease(1, ME, 10))}
    assert not driver.machine.may_leave


def test_a_claim_that_took_effect_is_reported() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0)], members(w1_a=1))
    claimed = row(0, ME, 8)
    assert driver.answer(Claim, claimed) == [events.LeaseClaimed(claimed, None)]
    assert driver.machine.may_leave


def test_a_claim_whose_earlier_attempt_took_effect_is_ours() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0)], members(w1_a=1))
    ours = row(0, ME, 8, checkpoint="5")
    assert driver.answer(Claim, Lost(ours)) == [events.LeaseClaimed(ours, None)]


@pytest.mark.parametrize("reply", [Lost(row(0, OTHER, 8)), Lost(None), Lost(row(0, ME, 9))], ids=str)
def test_a_claim_that_lost_against_another_reads_the_ledger_again(reply: Reply) -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0)], members(w1_a=1))
    assert driver.answer(Claim, reply) == []
    assert driver.has_call(Load)


def test_a_claim_of_a_shard_that_was_finished_meanwhile_owns_nothing() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0, ME)], members(w1_a=1))
    assert driver.answer(Claim, row(0, ME, 8, checkpoint=SHARD_END)) == []


def test_a_claim_with_unknown_outcome_is_retried_unchanged() -> None:
    """Then a first attempt that arrives late finds the row changed."""
    driver = CoordinatorDriver().join()
    driver.plan([row(0, epoch=7)], members(w1_a=1))
    claim = driver.call(Claim)
    for _ in range(3):
        assert kinds(driver.deliver(claim, NO_ANSWER)) == ["RetryScheduled"]
        assert driver.claims() == [], "it waits"
        driver.now += 3
        assert driver.call(Claim) == claim
    assert driver.machine.lasting_failures() == {f"claim fails: {NO_ANSWER}"}
    ours = row(0, ME, epoch=8)
    assert driver.deliver(claim, Lost(ours)) == [events.LeaseClaimed(ours, None)]


def test_a_row_in_our_name_that_we_do_not_own_is_claimed_again_with_a_higher_epoch() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0, ME, epoch=8)], members(w1_a=1))
    assert driver.call(Claim) == Claim(row(0, ME, epoch=8), lease(0, ME, 9))


def test_a_claim_in_flight_is_not_sent_twice() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0), row(1)], members(w1_a=1))
    assert driver.claims() == [0, 1]
    driver.machine.reload_ledger(driver.now)
    driver.plan([row(0), row(1, ME, 8)], members(w1_a=1))
    assert driver.claims() == [0, 1]


def test_a_shard_whose_claim_is_in_flight_cannot_be_handed_over_yet() -> None:
    """The ledger shows the claim already, the reply is slow, and another worker has joined meanwhile."""
    driver = CoordinatorDriver().join()
    driver.plan([row(0), row(1)], members(w1_a=1))
    driver.machine.reload_ledger(driver.now)
    driver.now += 1
    assert driver.plan([row(0, ME, 8), row(1, ME, 8)], members(w1_a=1, w2_b=1)) == []


@pytest.mark.parametrize(("stable", "claimed"), [(True, [0]), (False, [])])
def test_only_a_chosen_worker_id_takes_an_earlier_lifes_leases_at_once(stable: bool, claimed: list[int]) -> None:
    driver = CoordinatorDriver("w1/new", stable=stable).join()
    driver.plan([row(0, "w1/old"), row(1, OTHER)], members(w1_new=1, w1_old=3, w2_b=1))
    assert driver.claims() == claimed


def test_an_earlier_life_that_sends_heartbeats_is_alive() -> None:
    driver = CoordinatorDriver("w1/new", stable=True).join()
    driver.plan([row(0, "w1/old")], members(w1_new=1, w1_old=3))
    driver.answer(Claim, Lost(row(0, "w1/old")))
    driver.now += TTL / 8
    driver.plan([row(0, "w1/old")], members(w1_new=1, w1_old=4))
    assert driver.claims() == [], "two live processes with one id share like any others"


def test_an_owner_that_is_no_member_any_more_has_left() -> None:
    driver = CoordinatorDriver().join()
    driver.plan([row(0, "w3/c")], members(w1_a=1))
    assert driver.claims() == [0]
