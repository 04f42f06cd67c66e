"""When new credentials are looked for, what calls sign with meanwhile, and what a caller waits for."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import ceil
from threading import Event
from typing import Any

import pytest
from botocore.credentials import Credentials as StaticCredentials
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from consumer.aws import clients as module
from consumer.aws.clients import (
    BROKEN_PAUSE_SECONDS,
    EXPIRES_SOON_SECONDS,
    HANGING_SECONDS,
    LASTING_REFUSALS,
    LONGEST_DETAIL,
    MOST_ATTEMPTS,
    NO_REPLY,
    PAUSE_SECONDS,
    Credentials,
)
from consumer.domain.errors import CallFailed, FailureKind

HOUR = 3600.0
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
REFUSED = {"Error": {"Code": "ExpiredTokenException"}}
DENIED = {"Error": {"Code": "AccessDeniedException"}}


class Source:
    """What the SDK finds: `give` sets it, `attempts` hold what has begun. Time moves by hand."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.now = 1000.0
        self.hangs = hangs
        self.threads = True
        self.attempts: list[Callable[[], None]] = []
        self.found: object = None
        self.failures: list[tuple[str, bool]] = []
        self.renewed = 0
        self.subject = Credentials(self, self.find, lambda: self.now, self.start)

    def give(self, key: str, seconds: float | None = None) -> None:
        """Credentials with this access key, which expire in so many seconds."""
        if seconds is None:
            self.found = StaticCredentials(key, "secret")
            return
        expires = EPOCH + timedelta(seconds=self.now + seconds)
        self.found = RefreshableCredentials(
            key, "secret", "token", expires, dict, "test", lambda: EPOCH + timedelta(seconds=self.now), 0, 0
        )

    def find(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def start(self, attempt: Callable[[], None]) -> None:
        if not self.threads:
            raise RuntimeError("can't start new thread")
        self.attempts.append(attempt)
        if not self.hangs:
            attempt()

    def key(self) -> str:
        """The access key that a call signs with now."""
        return str(self.subject.get_frozen_credentials().access_key)

    def failure(self) -> CallFailed:
        with pytest.raises(CallFailed) as raised:
            self.key()
        assert raised.value.kind is FailureKind.CREDENTIALS
        return raised.value

    def refuse(self, reply: dict[str, Any] = REFUSED, times: int = LASTING_REFUSALS) -> None:
        for _ in range(times):
            self.subject.heed(parsed=reply)

    def credentials_renewed(self) -> None:
        self.renewed += 1

    def credentials_failed(self, detail: str, *, usable: bool) -> None:
        self.failures.append((detail, usable))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.0)


def source_with(key: str, seconds: float | None = None) -> Source:
    source = Source()
    source.give(key, seconds)
    assert source.key() == key
    return source


@pytest.mark.parametrize("seconds", [None, 2 * HOUR])
def test_good_credentials_are_not_looked_for_again(seconds: float | None) -> None:
    source = source_with("A", seconds)
    source.now += HOUR
    assert source.key() == "A"
    assert len(source.attempts) == 1


def test_they_are_renewed_before_they_expire() -> None:
    source = source_with("A", HOUR)
    source.give("B", 2 * HOUR)
    source.now += HOUR - EXPIRES_SOON_SECONDS
    assert source.key() == "A"
    source.now += 1
    assert source.key() == "B"
    assert source.renewed == 1
    assert source.failures == []


def test_while_a_renewal_hangs_calls_sign_with_good_credentials() -> None:
    source = source_with("A", HOUR)
    source.hangs = True
    source.now += HOUR - 60
    assert [source.key() for _ in range(20)] == ["A"] * 20
    assert len(source.attempts) == 2


def test_when_they_have_expired_a_call_fails_until_there_are_new_ones() -> None:
    source = source_with("A", HOUR)
    source.hangs = True
    source.now += HOUR - 60
    source.key()
    source.now += 61
    assert source.failure().detail == NO_REPLY
    source.give("B", HOUR)
    source.attempts[-1]()
    assert source.key() == "B"


def test_hanging_attempts_are_left_alone_and_bounded() -> None:
    source = source_with("A", HOUR)
    source.hangs = True
    source.now += HOUR - EXPIRES_SOON_SECONDS + 1
    for _ in range(200):
        source.key()
        source.now += 4.0
    assert len(source.attempts) == 1 + MOST_ATTEMPTS
    assert set(source.failures) == {(NO_REPLY, True)}
    assert len(source.failures) == 800 // HANGING_SECONDS
    source.give("B", HOUR)
    source.attempts[2]()
    assert source.key() == "B"


def test_an_attempt_that_was_overtaken_changes_nothing() -> None:
    source = source_with("A", HOUR)
    source.hangs = True
    source.now += HOUR - EXPIRES_SOON_SECONDS + 1
    source.key()
    source.now += HANGING_SECONDS
    source.key()
    source.give("C", HOUR)
    source.attempts[2]()
    source.give("B", HOUR)
    source.attempts[1]()
    assert source.key() == "C"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("no such file"),
        CredentialRetrievalError(provider="process", error_msg="no"),
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
        ValueError("no JSON"),
        KeyError("AccessKeyId"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_provider_raises_is_a_failed_call(error: Exception) -> None:
    source = source_with("A", HOUR)
    source.found = error
    source.now += HOUR - 60
    assert source.key() == "A"
    source.now += 61
    assert str(error)[:20] in source.failure().detail
    assert [usable for _, usable in source.failures] == [True, False]


@pytest.mark.parametrize(("left_seconds", "pause_seconds"), [(200, PAUSE_SECONDS), (-1, BROKEN_PAUSE_SECONDS)])
def test_attempts_keep_their_pauses(left_seconds: float, pause_seconds: float) -> None:
    source = source_with("A", HOUR)
    source.found = OSError("no")
    source.now += HOUR - left_seconds
    for _ in range(100):
        with suppress(CallFailed):
            source.key()
        source.now += 1.0
    assert len(source.attempts) - 1 == ceil(100 / pause_seconds)


@pytest.mark.parametrize("reply", [REFUSED, DENIED])
def test_lasting_refusals_read_static_credentials_anew(reply: dict[str, Any]) -> None:
    source = source_with("OLD")
    source.give("NEW")
    source.now += HOUR
    source.refuse(reply, LASTING_REFUSALS - 1)
    assert source.key() == "OLD"
    source.refuse(reply, 1)
    assert source.key() == "NEW"
    assert source.renewed == 1
    source.now += HOUR
    assert source.key() == "NEW"
    assert len(source.attempts) == 2


def test_a_call_that_succeeds_ends_the_refusals() -> None:
    source = source_with("OLD")
    source.now += HOUR
    for _ in range(10):
        source.refuse(times=LASTING_REFUSALS - 1)
        source.subject.heed(parsed={"Item": {}})
    source.key()
    assert len(source.attempts) == 1


def test_the_session_is_not_made_anew_at_every_refusal() -> None:
    source = source_with("OLD")
    for _ in range(100):
        source.now += 0.5
        source.refuse()
        assert source.key() == "OLD"
    assert len(source.attempts) - 1 == 50 / BROKEN_PAUSE_SECONDS
    assert source.renewed == 0


def test_refused_credentials_stay_while_there_are_no_others() -> None:
    """A file that is just being written has none."""
    source = source_with("OLD")
    source.found = None
    source.now += HOUR
    source.refuse()
    assert source.key() == "OLD"
    ((detail, usable),) = source.failures
    assert detail.startswith("no AWS credentials were found")
    assert not usable


def test_a_start_without_credentials_fails_at_once() -> None:
    source = Source()
    with pytest.raises(CallFailed, match="no AWS credentials were found"):
        source.subject.require(Event())
    assert source.failures == []


def test_a_start_waits_for_credentials_until_it_is_stopped() -> None:
    source, stop = Source(hangs=True), Event()
    stop.set()
    with pytest.raises(CallFailed, match=NO_REPLY):
        source.subject.require(stop)


def test_without_a_thread_calls_sign_with_good_credentials() -> None:
    source = source_with("A", HOUR)
    source.threads = False
    source.now += HOUR - 60
    assert source.key() == "A"
    source.now += 61
    assert "can't start new thread" in source.failure().detail


def test_the_text_of_a_failure_is_bounded() -> None:
    source = Source()
    source.found = CredentialRetrievalError(provider="process", error_msg="x" * 10_000)
    assert len(source.failure().detail) == LONGEST_DETAIL


def test_an_endpoint_is_given_the_account() -> None:
    source = Source()
    source.found = StaticCredentials("A", "secret", account_id="000000000000")
    assert source.subject.get_deferred_property("account_id")() == "000000000000"
