"""Birth rows as a person amends them: only as they were read, with pin and trace."""

from dataclasses import replace

import pytest

from consumer.domain.audit import Trace
from consumer.domain.leases import Amendment, Birth, Origin, Pin
from consumer.domain.outcomes import Done, Lost
from tests.builders import ARN, CREATED
from tests.contract.operators import desk_of
from tests.contract.subject import Subject

PIN = Pin(ARN, None, ("shard-0",), complete=False)
TRACE = Trace("foo@host", CREATED, "init --adopt", ARN, {"birth": "removed"})


def born(subject: Subject) -> Birth:
    """The birth row of the pinned stream."""
    subject.ledgers.pin(PIN, None, CREATED)
    (birth,) = desk_of(subject).births.births()
    assert birth == Birth(ARN, *subject.names[:2])
    return birth


def test_an_orphaned_birth_goes(subject: Subject) -> None:
    desk, birth = desk_of(subject), born(subject)
    subject.delete_pin(ARN)
    assert desk.births.amend(Amendment(ARN, birth, None, pinned=False), TRACE) == Done()
    assert subject.ledgers.origin(ARN) == Origin(None, None)
    assert [row["act"] for row in desk.trail()] == ["init --adopt"]
    assert subject.ledgers.pin(PIN, None, CREATED) == Done(), "a worker begins anew"


def test_a_lost_birth_is_written(subject: Subject) -> None:
    desk, birth = desk_of(subject), born(subject)
    subject.delete_birth(ARN)
    assert desk.births.amend(Amendment(ARN, None, birth, pinned=True), TRACE) == Done()
    assert subject.ledgers.origin(ARN) == Origin(PIN, birth)


def test_a_birth_is_written_anew(subject: Subject) -> None:
    desk, birth = desk_of(subject), born(subject)
    other = replace(birth, leaderboard_table="another")
    assert desk.births.amend(Amendment(ARN, birth, other, pinned=True), TRACE) == Done()
    assert subject.ledgers.origin(ARN) == Origin(PIN, other)


@pytest.mark.parametrize("case", ["lease", "leaderboard", "pin came", "pin went", "birth came"])
def test_nothing_is_amended_that_was_not_read(subject: Subject, case: str) -> None:
    desk, birth = desk_of(subject), born(subject)
    asked = {
        "lease": Amendment(ARN, replace(birth, lease_table="another"), birth, pinned=True),
        "leaderboard": Amendment(ARN, replace(birth, leaderboard_table="another"), birth, pinned=True),
        "pin came": Amendment(ARN, birth, None, pinned=False),
        "pin went": Amendment(ARN, birth, replace(birth, leaderboard_table="another"), pinned=True),
        "birth came": Amendment(ARN, None, birth, pinned=True),
    }[case]
    if case == "pin went":
        subject.delete_pin(ARN)
    before = subject.everything()
    assert desk.births.amend(asked, TRACE) == Lost(None)
    assert subject.everything() == before
    assert desk.trail() == []
