"""The ports of operators' commands, over each subject."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from consumer.aws.items import iso
from consumer.aws.operator_writes import DynamoGaps, DynamoLeaseAdmin, DynamoRuleList, DynamoTableBindings
from consumer.aws.tables import DynamoTableReader
from consumer.domain.audit import AuditEntry
from consumer.domain.operator_ports import Gaps, LeaseAdmin, RuleList, TableBindings, TableReader
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.fake_subject import FakeSubject
from tests.contract.subject import Subject
from tests.support.fakes.operators import FakeGaps, FakeLeaseAdmin, FakeRuleList, FakeTableBindings, FakeTableReader


@dataclass
class OperatorSubject:
    """The operators' ports over a subject."""

    reader: TableReader
    lease_admin: LeaseAdmin
    bindings: TableBindings
    gaps: Gaps
    rule_list: RuleList

    def trail(self) -> list[Mapping[str, str]]:
        """The audit rows."""
        if isinstance(self.reader, DynamoTableReader):
            return list(self.reader.audit_rows())
        assert isinstance(self.lease_admin, FakeLeaseAdmin)
        assert isinstance(self.bindings, FakeTableBindings)
        assert isinstance(self.gaps, FakeGaps)
        assert isinstance(self.rule_list, FakeRuleList)
        trails = (self.lease_admin.trail, self.bindings.trail, self.gaps.trail, self.rule_list.trail)
        return [_row(entry) for trail in trails for entry in trail]


def operator_subject(subject: Subject) -> OperatorSubject:
    """The real adapters over an engine, or the fakes."""
    if isinstance(subject, DynamoSubject):
        client, names, stop = subject.clients.dynamodb, subject.names, threading.Event()
        return OperatorSubject(
            DynamoTableReader(client, names, stop),
            DynamoLeaseAdmin(client, names),
            DynamoTableBindings(client, names),
            DynamoGaps(client, names),
            DynamoRuleList(client, names),
        )
    assert isinstance(subject, FakeSubject)
    tables = subject._tables
    return OperatorSubject(
        FakeTableReader(tables),
        FakeLeaseAdmin(tables, time.time),
        FakeTableBindings(tables),
        FakeGaps(tables),
        FakeRuleList(tables),
    )


def _row(entry: AuditEntry) -> Mapping[str, str]:
    return {
        "at": iso(entry.at),
        "who": entry.who,
        "act": entry.action,
        "target": entry.target,
        **entry.detail,
    }
