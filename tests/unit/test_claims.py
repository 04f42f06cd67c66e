"""The coordinator's claims: whose shards, with which epoch, and what an answer means."""

import pytest

from consumer.domain.errors import Trouble, TroubleKind
from consumer.domain.outcomes import Lost
from consumer.domain.position import SHARD_END
from consumer.worker import events
from consumer.worker.calls import Claim, Load, Reply
from tests.builders import ME, OTHER, lease, row
from tests.talks import TTL, Council, kinds, members

NO_ANSWER = Trouble(TroubleKind.NETWORK, "no answer")
TABLES = ("consumer-leases", "Leaderboards")


def claims(council: Council) -> list[int]:
    return sorted(int(call.row.shard.shard_id[-1]) for call in council.look() if isinstance(call, Claim))


def test_free_shards_are_claimed_with_a_higher_epoch() -> None:
    council = Council().join()
    council.plan([row(0, epoch=7), row(1, epoch=9), row(2, checkpoint=SHARD_END)], members(w1_a=1))
    assert council.machine.planned
    calls = {call for call in council.look() if isinstance(call, Claim)}
    assert calls == {Claim(row(0, epoch=7), lease(0, ME, 8)), Claim(row(1, epoch=9), lease(1, ME, 10))}
    assert not council.machine.settled


def test_a_claim_that_went_through_is_told() -> None:
    council = Council().join()
    council.plan([row(0)], members(w1_a=1))
    claimed = row(0, ME, 8)
    assert council.answer(Claim, claimed) == [events.LeaseClaimed(claimed, None)]
    assert council.machine.settled


def test_a_claim_whose_earlier_attempt_went_through_is_ours() -> None:
    council = Council().join()
    council.plan([row(0)], members(w1_a=1))
    ours = row(0, ME, 8, checkpoint="5")
    assert council.answer(Claim, Lost(ours)) == [events.LeaseClaimed(ours, None)]


@pytest.mark.parametrize("reply", [Lost(row(0, OTHER, 8)), Lost(None), Lost(row(0, ME, 9))], ids=str)
def test_a_claim_that_somebody_was_faster_with_makes_it_look_again(reply: Reply) -> None:
    council = Council().join()
    council.plan([row(0)], members(w1_a=1))
    assert council.answer(Claim, reply) == []
    assert council.asks(Load)


def test_a_claim_on_a_shard_that_was_finished_in_the_meantime_works_nothing() -> None:
    council = Council().join()
    council.plan([row(0, ME)], members(w1_a=1))
    assert council.answer(Claim, row(0, ME, 8, checkpoint=SHARD_END)) == []


def test_a_claim_whose_reply_is_lost_is_asked_again_until_it_is_clear() -> None:
    """The same one, so that a first attempt that comes late finds the row changed."""
    council = Council().join()
    council.plan([row(0, epoch=7)], members(w1_a=1))
    claim = council.call(Claim)
    for _ in range(3):
        assert kinds(council.tell(claim, NO_ANSWER)) == ["RetryScheduled"]
        assert claims(council) == [], "it waits"
        council.now += 3
        assert council.call(Claim) == claim
    assert council.machine.troubles() == {f"Claim fails: {NO_ANSWER}"}
    ours = row(0, ME, epoch=8)
    assert council.tell(claim, Lost(ours)) == [events.LeaseClaimed(ours, None)]


def test_a_row_in_our_name_that_we_do_not_work_is_claimed_anew_with_a_higher_epoch() -> None:
    council = Council().join()
    council.plan([row(0, ME, epoch=8)], members(w1_a=1))
    assert council.call(Claim) == Claim(row(0, ME, epoch=8), lease(0, ME, 9))


def test_a_claim_under_way_is_not_sent_twice() -> None:
    council = Council().join()
    council.plan([row(0), row(1)], members(w1_a=1))
    assert claims(council) == [0, 1]
    council.machine.rescan(council.now)
    council.plan([row(0), row(1, ME, 8)], members(w1_a=1))
    assert claims(council) == [0, 1]


def test_a_shard_whose_claim_is_under_way_cannot_be_handed_over_yet() -> None:
    """The ledger shows the claim already, its reply is slow, and by now another worker wants its share."""
    council = Council().join()
    council.plan([row(0), row(1)], members(w1_a=1))
    council.machine.rescan(council.now)
    council.now += 1
    assert council.plan([row(0, ME, 8), row(1, ME, 8)], members(w1_a=1, w2_b=1)) == []


@pytest.mark.parametrize(("stable", "claimed"), [(True, [0]), (False, [])])
def test_only_a_chosen_worker_id_takes_an_earlier_lifes_leases_at_once(stable: bool, claimed: list[int]) -> None:
    council = Council("w1/new", stable=stable).join()
    council.plan([row(0, "w1/old"), row(1, OTHER)], members(w1_new=1, w1_old=3, w2_b=1))
    assert claims(council) == claimed


def test_a_ghost_that_beats_again_is_alive() -> None:
    council = Council("w1/new", stable=True).join()
    council.plan([row(0, "w1/old")], members(w1_new=1, w1_old=3))
    council.answer(Claim, Lost(row(0, "w1/old")))
    council.now += TTL / 8
    council.plan([row(0, "w1/old")], members(w1_new=1, w1_old=4))
    assert claims(council) == [], "two live processes with one id share like any others"


def test_an_owner_that_is_no_member_any_more_has_left() -> None:
    council = Council().join()
    council.plan([row(0, "w3/c")], members(w1_a=1))
    assert claims(council) == [0]
