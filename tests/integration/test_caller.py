"""The operator's name in the audit trail: STS's reply, or user and machine when there is none."""

import pytest

from consumer.aws.clients import caller, connect
from tests.support.engines import TableEngine
from tests.support.processes.sts import ARN, Sts


@pytest.mark.parametrize("reply", [None, "no XML", "<A/>", ""])
def test_caller(reply: str | None, ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TableEngine("ministack", ministack_url)
    with Sts() if reply is None else Sts(reply) as sts:
        for name, value in (engine.variables() | {"AWS_ENDPOINT_URL_STS": sts.url}).items():
            monkeypatch.setenv(name, value)
        clients = connect(1)
        name = caller(clients)
    assert len(sts.calls) == 1
    assert name == ARN if reply is None else "@" in name
    clients.dynamodb.close()
    clients.streams.close()
