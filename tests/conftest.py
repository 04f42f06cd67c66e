"""The engines as fixtures, and an environment in which nothing of the developer's own AWS account is left."""

import os
import random
import signal
from collections.abc import Iterator

import pytest

from consumer.demo import child_process
from consumer.demo.engine import Engine
from consumer.demo.server import Server
from tests.support.engines.dynamodb_local import DynamoDBLocal, what_is_missing
from tests.support.engines.table_engine import ENGINE_NAMES, TableEngine, clean_environment


def pytest_configure() -> None:
    """No test may reach a real account, or behave otherwise because of a variable in the developer's shell."""
    clean_environment()
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ.setdefault("SIMULATION_BASE", str(random.SystemRandom().randrange(1_000_000)))  # the workers inherit it
    # Started in the background of a shell that has no jobs, SIGINT would be ignored, and so in every child.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:
        # A worker whose controller was killed would first finish its test, and its engines would wait for that.
        child_process.follow(os.getppid())


def pytest_report_header() -> str:
    """Every run says which fresh seeds it had."""
    return f"simulation: SIMULATION_BASE={os.environ['SIMULATION_BASE']}"


@pytest.fixture(scope="session")
def ministack_url() -> Iterator[str]:
    """One ministack a test process, shared by its tests: name tables after the test."""
    with Engine() as server:
        yield server.url


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str]:
    """One DynamoDB Local a test process, shared by its tests: name tables after the test."""
    with _dynamodb_local() as server:
        yield server.url


SCENARIO_ENGINES = (ENGINE_NAMES[0], *(pytest.param(name, marks=pytest.mark.proof) for name in ENGINE_NAMES[1:]))
"""A scenario runs on the engine that PyPI has in `make test`, and on the other one in `make proof`."""


@pytest.fixture(scope="session", params=SCENARIO_ENGINES)
def engine(request: pytest.FixtureRequest) -> TableEngine:
    """An engine, shared by the tests of this process."""
    name: str = request.param
    url: str = request.getfixturevalue(f"{name.replace('-', '_')}_url")
    return TableEngine(name, url)


@pytest.fixture(params=SCENARIO_ENGINES)
def fresh_engine(request: pytest.FixtureRequest) -> Iterator[TableEngine]:
    """An engine that is started for this test alone: for heavy runs and for faults."""
    name: str = request.param
    with Engine() if name == "ministack" else _dynamodb_local() as server:
        yield TableEngine(name, server.url)


def _dynamodb_local() -> Server:
    missing = what_is_missing()
    if missing is not None:
        # Left out on a developer's machine, never in CI: there the guarantees are shown on both engines.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    return DynamoDBLocal()
