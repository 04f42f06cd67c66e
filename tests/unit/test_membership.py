import pytest

from consumer.domain.leases import Members, Vouch
from consumer.domain.membership import Observer

TTL = 4.0


def members(**beats: int) -> Members:
    return Members(0, {owner: Vouch(beat) for owner, beat in beats.items()})


def look(observer: Observer, at: float, took: float = 0.0, **beats: int) -> frozenset[str]:
    observer.see(members(**beats), at, at + took)
    return observer.dead()


def test_nobody_is_dead_before_a_look() -> None:
    assert Observer(TTL).dead() == frozenset()


def test_the_same_beat_for_a_ttl_of_looks_is_a_death() -> None:
    observer = Observer(TTL)
    verdicts = [look(observer, at, a=1, b=round(at)) for at in (0.0, 1.0, 2.0, 3.0, 3.9, 4.0, 5.0)]
    assert verdicts == [frozenset()] * 5 + [frozenset({"a"})] * 2


def test_a_beat_begins_the_count_anew() -> None:
    observer = Observer(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        look(observer, at, a=1)
    assert not look(observer, 3.9, a=2)
    verdicts = [look(observer, at, a=2) for at in (5.5, 7.0, 7.8, 7.9)]
    assert verdicts == [frozenset(), frozenset(), frozenset(), {"a"}]


def test_a_beat_that_goes_back_is_a_beat_too() -> None:
    observer = Observer(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        look(observer, at, a=5)
    assert not look(observer, 4.0, a=1)


def test_a_look_counts_from_its_answer_to_the_asking_of_the_last() -> None:
    observer = Observer(TTL)
    look(observer, 0.0, took=1.0, a=1)
    for at in (1.5, 3.0, 4.5):
        assert not look(observer, at, a=1), "the beat may have been written while the first look was under way"
    assert look(observer, 5.0, a=1) == {"a"}


@pytest.mark.parametrize(("hole", "dead"), [(2.0, True), (2.1, False), (60.0, False)])
def test_an_observer_that_was_paused_starts_anew(hole: float, dead: bool) -> None:
    observer = Observer(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        look(observer, at, a=1)
    assert look(observer, 3.0 + hole, a=1) == ({"a"} if dead else frozenset())


def test_a_pause_while_a_look_is_under_way_is_a_hole_too() -> None:
    observer = Observer(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        look(observer, at, a=1)
    assert not look(observer, 4.0, took=30.0, a=1)
    assert not look(observer, 34.0, a=1)


def test_after_a_pause_a_whole_ttl_is_needed_again() -> None:
    observer = Observer(TTL)
    look(observer, 0.0, a=1)
    verdicts = [look(observer, at, a=1) for at in (100.0, 101.5, 103.0, 103.9, 104.0)]
    assert verdicts == [frozenset()] * 4 + [{"a"}]


def test_who_left_is_not_dead_and_who_comes_back_is_new() -> None:
    observer = Observer(TTL)
    for at in (0.0, 1.0, 2.0, 3.0):
        look(observer, at, a=1)
    assert not look(observer, 4.0, b=1)
    assert not look(observer, 5.0, a=1, b=2)
    assert set(observer.members) == {"a", "b"}
