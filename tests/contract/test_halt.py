"""The breaker in a shard's row: the window that moves with the units, the halt, and the guard against a late one."""

from dataclasses import replace

import pytest

from consumer.domain.breaker import CLOSED, Circuit
from consumer.domain.cut import cut
from consumer.domain.fold import Limits
from consumer.domain.leases import TRIM_HORIZON, LeaseRow
from consumer.domain.replies import Committed, Done, Lost
from tests.contract.subject import Subject
from tests.support.builders import (
    CREATED,
    HAD_GAME,
    ME,
    OTHER,
    SYMPTOM,
    game,
    lease,
    plain_rows,
    poison,
    row,
    sequence_number,
    shard,
)

AT = sequence_number(100)


def held(circuit: Circuit | None = None) -> LeaseRow:
    return replace(row(owner=ME, checkpoint=AT, created=CREATED), circuit=circuit or Circuit())


def test_the_window_moves_with_the_unit(subject: Subject) -> None:
    subject.create_root_rows(held())
    first = cut([poison(101), game(102, "a")], AT, Limits(), CREATED)
    assert subject.commits.commit(lease(), first, plain_rows(first), fills_gap=False) == Committed()
    stored = subject.row(shard())
    assert stored is not None
    assert stored.circuit == Circuit(recent=0b10, had_game=True)
    second = cut([game(seq, "a") for seq in range(103, 400)], first.last, Limits(), CREATED, stored.circuit)
    assert subject.commits.commit(lease(), second, plain_rows(second), fills_gap=False) == Committed()
    stored = subject.row(shard())
    assert stored is not None
    assert stored.circuit == HAD_GAME, "nothing is kept when no poison is among the last"


def test_a_shard_has_had_a_good_record_once_its_first_game_is_committed(subject: Subject) -> None:
    subject.create_root_rows(row(owner=ME))
    checkpoint, circuit = TRIM_HORIZON, CLOSED
    for entry, had_game in ((poison(101), False), (game(102, "a"), True), (poison(103), True)):
        unit = cut([entry], checkpoint, Limits(), CREATED, circuit)
        assert subject.commits.commit(lease(), unit, plain_rows(unit), fills_gap=False) == Committed()
        stored = subject.row(shard())
        assert stored is not None
        assert stored.circuit == unit.circuit
        assert stored.circuit.had_game is had_game
        checkpoint, circuit = unit.last, stored.circuit


def test_a_shard_is_halted_at_its_checkpoint(subject: Subject) -> None:
    subject.create_root_rows(held())
    assert subject.commits.halt(lease(), AT, 0, CREATED + 5, SYMPTOM) == Done()
    assert subject.commits.halt(lease(), AT, 0, CREATED + 5, SYMPTOM) == Done(), "again"
    assert subject.row(shard()) == held(Circuit(halted_at=CREATED + 5, symptom=SYMPTOM))


@pytest.mark.parametrize("by", [lease(owner=OTHER), lease(epoch=8)])
def test_only_its_owner_halts_it(subject: Subject, by: object) -> None:
    subject.create_root_rows(held())
    before = subject.everything()
    assert subject.commits.halt(by, AT, 0, CREATED, SYMPTOM) == Lost(held())  # type: ignore[arg-type]
    assert subject.commits.halt(lease(), sequence_number(99), 0, CREATED, SYMPTOM) == Lost(held())
    assert subject.everything() == before


@pytest.mark.parametrize(("stored", "resumes"), [(1, 0), (2, 1)])
def test_a_halt_decided_before_the_last_resume_does_not_count(subject: Subject, stored: int, resumes: int) -> None:
    resumed = held(Circuit(resumes=stored))
    subject.create_root_rows(resumed)
    assert subject.commits.halt(lease(), AT, resumes, CREATED, SYMPTOM) == Lost(resumed)
    assert subject.commits.halt(lease(), AT, stored, CREATED, SYMPTOM) == Done()


def test_a_shard_without_a_row_is_not_halted(subject: Subject) -> None:
    before = subject.everything()
    assert subject.commits.halt(lease(), AT, 0, CREATED, SYMPTOM) == Lost(None)
    assert subject.everything() == before
