"""The accepted rules of a ledger, and the numbers and windows of its rows."""

from dataclasses import replace

import pytest

from consumer.domain.accepted_rules import AcceptedRules, Reading
from consumer.domain.audit import AuditEntry
from consumer.domain.leases import PROTOCOL, Origin, StreamStart, table_arn_of
from consumer.domain.membership import HeartbeatReport
from consumer.domain.operator_ports import RuleList
from consumer.domain.records import Corrections, Rules
from consumer.domain.replies import Done, Lost
from consumer.domain.timestamps import TimestampFormat
from consumer.domain.windows import Kind, WindowKind
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.operator_subject import operator_subject
from tests.contract.subject import Subject
from tests.support.builders import ARN, CREATED, ME, OTHER, lease, row

SECOND = ARN.replace("2026-01-01", "2026-02-02")
STREAM_START = StreamStart(ARN, None, ("shard-0",), complete=False)
RULES = Rules()
FULL = Rules(
    player_attribute="who",
    score_attribute="points",
    timestamp_attribute="at",
    timestamp_format=TimestampFormat.EPOCH_MILLISECONDS,
    max_future_seconds=60,
    windows=((WindowKind.DAY, 2), (WindowKind.WEEK, 31), (WindowKind.MONTH, 1)),
    time_zone="Australia/Lord_Howe",
    corrections=Corrections.APPLY,
)
WINDOWS = {WindowKind.DAY: Kind(2), WindowKind.MONTH: Kind(3, CREATED + 0.125)}


@pytest.mark.parametrize("rules", [RULES, FULL])
def test_the_first_rules_come_with_the_stream(subject: Subject, rules: Rules) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED, rules)
    assert subject.ledgers.load().accepted == AcceptedRules((rules,))
    assert subject.ledgers.read_origin(ARN).accepted == AcceptedRules((rules,))
    assert subject.ledgers.read_origin(SECOND).accepted == AcceptedRules((rules,)), "two streams have one list"


def test_a_stream_start_with_first_rules_is_lost_when_there_are_some(subject: Subject) -> None:
    """Two workers of other rules start at once: one is first."""
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED, RULES)
    before = subject.everything()
    second = StreamStart(SECOND, None, (), complete=False)
    assert subject.ledgers.record_stream_start(second, None, CREATED, FULL) == Lost(None)
    assert subject.ledgers.record_stream_start(second, ARN, CREATED, FULL) == Lost(None)
    assert subject.everything() == before
    assert subject.ledgers.record_stream_start(second, ARN, CREATED) == Done(), "with the rules that there are"
    assert subject.ledgers.load().accepted == AcceptedRules((RULES,))


def test_a_successor_brings_the_first_rules_of_a_ledger_of_version_0_1(subject: Subject) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    assert subject.ledgers.load().accepted == AcceptedRules()
    second = StreamStart(SECOND, None, (), complete=False)
    assert subject.ledgers.record_stream_start(second, ARN, CREATED, FULL) == Done()
    assert subject.ledgers.load().accepted == AcceptedRules((FULL,))


@pytest.mark.parametrize("protocol", [1, PROTOCOL])
def test_rules_are_recorded_once_in_a_ledger_that_has_none(subject: Subject, protocol: int) -> None:
    """Another worker may have upgraded the stream's row, or recorded its rules, meanwhile: then nothing changes."""
    if protocol == 1:
        subject.put_old_stream_start(replace(STREAM_START, protocol=1, started_at=CREATED))
    else:
        subject.ledgers.record_stream_start(STREAM_START, None, CREATED)
    keyed = True if protocol == 1 else None
    assert subject.ledgers.upgrade_stream(ARN, keyed=keyed, rules=FULL) == Done()
    before = subject.everything()
    for rules in (FULL, RULES):
        assert subject.ledgers.upgrade_stream(ARN, keyed=keyed, rules=rules) == Lost(None)
        assert subject.ledgers.upgrade_stream(ARN, keyed=None, rules=rules) == Lost(None)
    assert subject.everything() == before
    ledger = subject.ledgers.load()
    assert ledger.accepted == AcceptedRules((FULL,))
    assert [start.protocol for start in ledger.stream_starts] == [PROTOCOL]


def test_a_claim_writes_number_and_windows(subject: Subject) -> None:
    subject.create_root_rows(row())
    claimed = row(owner=ME, epoch=8).read_as(Reading(2, WINDOWS))
    assert subject.ledgers.claim(row(), lease(epoch=8), Reading(2, WINDOWS)) == claimed
    assert subject.row(claimed.shard) == claimed
    assert subject.ledgers.load().rows == (claimed,)


def test_a_late_claim_does_not_take_the_number_back(subject: Subject) -> None:
    """Its epoch is an older one: each change of the number raises the epoch."""
    subject.create_root_rows(row())
    subject.ledgers.claim(row(), lease(owner=OTHER, epoch=8), Reading(2, WINDOWS))
    before = subject.everything()
    assert subject.ledgers.claim(row(), lease(epoch=8), Reading(1)) == Lost(
        row(owner=OTHER, epoch=8).read_as(Reading(2, WINDOWS))
    )
    assert subject.everything() == before


def test_a_release_keeps_number_and_windows(subject: Subject) -> None:
    subject.create_root_rows(row())
    subject.ledgers.claim(row(), lease(epoch=8), Reading(2, WINDOWS))
    subject.ledgers.release(lease(epoch=8))
    assert subject.row(row().shard) == row(epoch=8).read_as(Reading(2, WINDOWS))


def test_new_rows_have_number_and_windows(subject: Subject) -> None:
    made = row().read_as(Reading(3, WINDOWS))
    subject.create_root_rows(made)
    assert subject.row(made.shard) == made


def test_the_origin_of_a_later_stream_says_how_the_shards_are_read(subject: Subject) -> None:
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED, RULES)
    subject.ledgers.create_root_rows(ARN, (row().read_as(Reading(1, WINDOWS)), row(1)))
    origin = subject.ledgers.read_origin(SECOND)
    assert isinstance(origin, Origin)
    assert sorted(reading.rules for reading in origin.readings) == [0, 1]
    assert Reading(1, WINDOWS) in origin.readings


def test_a_heartbeat_carries_its_workers_number(subject: Subject) -> None:
    subject.membership.send_heartbeat(ME, HeartbeatReport(1, rules=3), joining=True, bump=True)
    subject.membership.send_heartbeat(OTHER, HeartbeatReport(1), joining=True, bump=True)
    assert {owner: report.rules for owner, report in subject.membership.read_members().workers.items()} == {
        ME: 3,
        OTHER: 0,
    }


ENTRY = AuditEntry("foo@host", CREATED, "init --accept-rules", "rules", {"number": "2"})


def accepting(subject: Subject) -> RuleList:
    """A ledger with one set of rules, and the port that accepts others."""
    subject.ledgers.record_stream_start(STREAM_START, None, CREATED, RULES)
    return operator_subject(subject).rule_list


def test_accepted_rules_are_appended_audited_and_announced(subject: Subject) -> None:
    rule_list = accepting(subject)
    subject.membership.send_heartbeat(ME, HeartbeatReport(1), joining=True, bump=True)
    assert rule_list.accept(AcceptedRules((RULES,)), FULL, ENTRY) == Done()
    assert subject.ledgers.load().accepted == AcceptedRules((RULES, FULL))
    assert subject.ledgers.read_origin(ARN).sources == {table_arn_of(ARN)}, "the rest of the row stays"
    assert subject.membership.read_members().changes == 2, "workers read the ledger at once"
    if isinstance(subject, DynamoSubject):
        (row_,) = operator_subject(subject).trail()
        assert (row_["act"], row_["target"], row_["number"]) == ("init --accept-rules", "rules", "2")


def test_rules_are_appended_only_to_the_list_that_was_read(subject: Subject) -> None:
    """Two operators accept rules at once: the second one has not seen from what its own differ."""
    rule_list = accepting(subject)
    seen = AcceptedRules((RULES,))
    assert rule_list.accept(seen, FULL, ENTRY) == Done()
    before = subject.everything()
    assert rule_list.accept(seen, replace(FULL, score_attribute="other"), replace(ENTRY, who="bar")) == Lost(None)
    assert rule_list.accept(AcceptedRules(), FULL, replace(ENTRY, who="bar")) == Lost(None)
    assert subject.everything() == before


def test_the_same_acceptance_again_is_done_and_appends_nothing(subject: Subject) -> None:
    """Its reply was lost; the token is another one by now, or another operator wanted the same."""
    rule_list = accepting(subject)
    seen = AcceptedRules((RULES,))
    assert rule_list.accept(seen, FULL, ENTRY) == Done()
    before = subject.everything()
    assert rule_list.accept(seen, FULL, replace(ENTRY, at=CREATED + 700)) == Done()
    assert subject.everything() == before


def test_rules_that_were_accepted_before_are_appended_again(subject: Subject) -> None:
    rule_list = accepting(subject)
    assert rule_list.accept(AcceptedRules((RULES,)), FULL, ENTRY) == Done()
    assert rule_list.accept(AcceptedRules((RULES, FULL)), RULES, replace(ENTRY, at=CREATED + 1)) == Done()
    accepted = subject.ledgers.load().accepted
    assert accepted == AcceptedRules((RULES, FULL, RULES))
    assert (accepted.number_of(RULES), accepted.number_of(FULL)) == (3, 2)
