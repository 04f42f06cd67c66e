"""The ports of a person's commands, of each subject."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from consumer.aws.audit import DynamoAudit
from consumer.aws.births import DynamoBirths
from consumer.aws.items import iso
from consumer.aws.overview import DynamoOverviews
from consumer.aws.placements import DynamoPlacements
from consumer.domain.audit import Trace
from consumer.domain.operator_ports import Births, Overviews, Placements
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.fake_subject import FakeSubject
from tests.contract.subject import Subject
from tests.fakes.overseers import FakeBirths, FakeOverviews, FakePlacements


@dataclass
class Desk:
    """Where an operator works on a subject."""

    subject: Subject
    overviews: Overviews
    placements: Placements
    births: Births

    def trail(self) -> list[Mapping[str, str]]:
        """The audit rows."""
        if isinstance(self.subject, DynamoSubject):
            return list(DynamoAudit(self.subject.clients.dynamodb, self.subject.quarantined, threading.Event()).rows())
        assert isinstance(self.placements, FakePlacements)
        assert isinstance(self.births, FakeBirths)
        return [_row(trace) for trace in self.placements.trail + self.births.trail]


def desk_of(subject: Subject) -> Desk:
    """The real adapters over an engine, or the fakes."""
    if isinstance(subject, DynamoSubject):
        names = (subject.leases, subject.quarantined, threading.Event())
        client = subject.clients.dynamodb
        return Desk(
            subject, DynamoOverviews(client, *names), DynamoPlacements(client, *names), DynamoBirths(client, *names)
        )
    assert isinstance(subject, FakeSubject)
    tables = subject._tables
    return Desk(subject, FakeOverviews(tables), FakePlacements(tables, time.time), FakeBirths(tables))


def _row(trace: Trace) -> Mapping[str, str]:
    return {"at": iso(trace.at), "who": trace.who, "act": trace.act, "target": trace.target, **trace.detail}
