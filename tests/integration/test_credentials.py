"""Credentials that fail, hang, expire or change outside: failed calls and no more; the worker goes on by itself."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engines import TableEngine
from tests.support.processes import Fate, Game, Proxy, WorkerProcess, consumer, until
from tests.support.processes.credential_source import CredentialEndpoint, CredentialFiles


@pytest.fixture
def game(engine: TableEngine) -> Iterator[Game]:
    with Game(engine) as game:
        yield game


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    return CredentialFiles(tmp_path)


def environment(game: Game, credentials: dict[str, str], proxy: Proxy | None = None) -> dict[str, str]:
    """A worker's, without the credentials that tests use otherwise."""
    ours = game.environment(proxy, poll_interval_seconds="0.05", lease_ttl_seconds="2")
    return {name: value for name, value in ours.items() if "ACCESS_KEY" not in name} | credentials


def started(game: Game, worker: WorkerProcess) -> None:
    """The worker has counted some games and is ready."""
    game.play(20, 5)
    game.wait_until_consumed()
    until(lambda: worker.get("/readyz")[0] == 200, "ready")


def assert_recovers(game: Game, worker: WorkerProcess) -> None:
    """It counts the games that were played meanwhile, and drains."""
    game.wait_until_consumed()
    until(lambda: worker.get("/readyz")[0] == 200, "ready again")
    game.assert_exact()
    assert worker.terminate().code == 0
    assert not [line for line in worker.log_lines if "Traceback" in line]


def assert_reported(worker: WorkerProcess) -> None:
    """The worker is alive, says what fails, and counts it."""
    until(
        lambda: any(event["reason"] == "credentials" for event in worker.events("call.retry_scheduled")),
        f"a retry because of credentials; exit code {worker.code}",
    )
    until(lambda: "credentials" in worker.get("/readyz")[1], "the reason in readiness")
    assert worker.get("/livez")[0] == 200
    until(lambda: re.search(r"\w_credential_failures_total [1-9]", worker.get("/metrics")[1]), "a counted failure")


def gone(files: CredentialFiles) -> None:
    files.script.unlink()


def garbage(files: CredentialFiles) -> None:
    files.run("echo '[]'")


def fails(files: CredentialFiles) -> None:
    files.run("echo no >&2; exit 1")


def expired(files: CredentialFiles) -> None:
    files.give("PROCESS", seconds=-60)


BREAKAGES = pytest.mark.parametrize("breaks", [gone, garbage, fails, expired])


@BREAKAGES
def test_a_credential_process_that_breaks_while_the_credentials_are_good(
    game: Game, files: CredentialFiles, breaks: Callable[[CredentialFiles], None]
) -> None:
    """What it raises is often none of the SDK's exceptions, and ends no call."""
    files.give("PROCESS", seconds=300)
    with WorkerProcess(environment(game, files.variables())) as worker:
        worker.wait_for_event("worker.joined")
        breaks(files)
        game.play(20, 5)
        assert_recovers(game, worker)


@pytest.mark.proof
@BREAKAGES
def test_a_credential_process_that_breaks_until_they_have_expired(
    game: Game, files: CredentialFiles, breaks: Callable[[CredentialFiles], None]
) -> None:
    """The worker retries and says why, until the process works again."""
    files.give("PROCESS", seconds=8)
    with WorkerProcess(environment(game, files.variables())) as worker:
        worker.wait_for_event("worker.joined")
        breaks(files)
        assert_reported(worker)
        game.play(20, 5)
        files.give("PROCESS", seconds=3600)
        assert_recovers(game, worker)


def test_a_credential_endpoint_that_hangs_while_the_credentials_are_good(game: Game) -> None:
    """No call, and no heartbeat, waits for it."""
    with (
        CredentialEndpoint(seconds=300) as endpoint,
        WorkerProcess(environment(game, endpoint.variables())) as worker,
    ):
        worker.wait_for_event("worker.joined")
        endpoint.hang()
        game.play(20, 5)
        game.wait_until_consumed(seconds=8)
        until(lambda: worker.get("/readyz")[0] == 200, "ready")
        game.assert_exact()
        assert worker.terminate().code == 0
        assert not worker.events("call.retry_scheduled")


@pytest.mark.proof
def test_a_credential_endpoint_that_hangs_until_they_have_expired(game: Game) -> None:
    """For longer than any call may take: waiting is a failed call, not an overdue step that ends the process."""
    with (
        CredentialEndpoint(seconds=8) as endpoint,
        WorkerProcess(environment(game, endpoint.variables())) as worker,
    ):
        worker.wait_for_event("worker.joined")
        endpoint.hang()
        game.play(20, 5)
        assert_reported(worker)
        with pytest.raises(AssertionError, match="did not end"):
            worker.wait(80)
        endpoint.seconds = 3600
        endpoint.recover()
        assert_recovers(game, worker)


def test_a_credential_endpoint_that_hangs_at_the_start_does_not_hold_a_stop(game: Game) -> None:
    with CredentialEndpoint(seconds=300) as endpoint:
        endpoint.hang()
        with WorkerProcess(environment(game, endpoint.variables())) as worker:
            until(lambda: endpoint.requests, "a request for credentials")
            assert worker.terminate(seconds=5).code == 0


def test_a_shared_credentials_file_that_is_rotated(game: Game, files: CredentialFiles) -> None:
    """The old key is refused; the new one is found without a restart."""
    valid = {"OLD"}
    with Proxy(game.engine.url, lambda call: Fate.PASS if call.access_key in valid else Fate.UNKNOWN_KEY) as proxy:
        files.share("OLD")
        with WorkerProcess(environment(game, files.variables(), proxy)) as worker:
            started(game, worker)
            files.share("NEW")
            valid.clear()
            valid.add("NEW")
            game.play(20, 5)
            assert_recovers(game, worker)
            worker.wait_for_event("credentials.renewed")


def test_a_start_without_working_credentials_says_so(game: Game, files: CredentialFiles) -> None:
    """Exit code 3 and a sentence, whatever the provider raised."""
    files.give("PROCESS", seconds=3600)
    gone(files)
    done = consumer("run", environment=environment(game, files.variables()))
    assert done.returncode == 3, done.stderr
    assert "there are no AWS credentials that work: check their source" in done.stderr
    assert str(files.script) in done.stderr
