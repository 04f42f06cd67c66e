"""The subjects as fixtures. Tokens are random: with the token of its content, DynamoDB would hide a missing guard."""

import os
import secrets
from collections.abc import Iterator
from unittest import mock

import pytest

from consumer.aws import transact
from consumer.aws.clients import Clients, connect
from tests.contract.dynamo_subject import DynamoSubject
from tests.contract.fake_subject import FakeSubject
from tests.contract.subject import Subject
from tests.support.engines import TableEngine
from tests.support.engines.table_engine import ENGINE_NAMES


@pytest.fixture(autouse=True)
def fresh_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt is a new request."""
    monkeypatch.setattr(transact, "token_of", lambda _: secrets.token_hex(16))


@pytest.fixture(scope="session")
def made_clients() -> Iterator[dict[str, Clients]]:
    """The product's own clients, by engine; those for scans are apart, as their replies are not parsed."""
    made: dict[str, Clients] = {}
    yield made
    for clients in made.values():
        clients.dynamodb.close()
        clients.streams.close()


@pytest.fixture(params=("fakes", *ENGINE_NAMES))
def subject(request: pytest.FixtureRequest) -> Subject:
    """The fakes and the two engines, one per test, with empty tables."""
    return FakeSubject() if request.param == "fakes" else _on_engine(request, request.param)


@pytest.fixture(params=ENGINE_NAMES)
def dynamo(request: pytest.FixtureRequest) -> DynamoSubject:
    """The two engines, one per test, with empty tables."""
    return _on_engine(request, request.param)


def _on_engine(request: pytest.FixtureRequest, name: str) -> DynamoSubject:
    made: dict[str, Clients] = request.getfixturevalue("made_clients")
    if name not in made:
        engine = TableEngine(name, request.getfixturevalue(f"{name.replace('-', '_')}_url"))
        with mock.patch.dict(os.environ, engine.variables()):
            made[name], made[f"{name} scans"] = connect(threads=2), connect(threads=2)
    return DynamoSubject(name, made[name], made[f"{name} scans"].dynamodb)
