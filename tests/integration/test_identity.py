"""Who acted, as the audit trail has it: STS's answer, and what stands in for one that cannot be had."""

import pytest

from consumer.aws.identity import caller
from tests.engines import TableEngine
from tests.processes.sts import ARN, Sts


@pytest.mark.parametrize("answer", [None, "no XML", "<A/>", ""])
def test_caller(answer: str | None, ministack_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TableEngine("ministack", ministack_url)
    client = engine.client("dynamodb")
    with Sts() if answer is None else Sts(answer) as sts:
        for name, value in (engine.variables() | {"AWS_ENDPOINT_URL_STS": sts.url}).items():
            monkeypatch.setenv(name, value)
        name = caller(client)
    assert len(sts.calls) == 1
    assert name == ARN if answer is None else "@" in name
    client.close()
