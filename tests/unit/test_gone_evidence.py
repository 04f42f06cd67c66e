"""The evidence that a shard is gone: refusals while the stream itself answers."""

from consumer.domain.lineage import GONE_ANSWERS, GONE_SECONDS, GoneEvidence


def refused(times: int, apart: float) -> GoneEvidence:
    evidence = GoneEvidence()
    for number in range(times):
        evidence.refused()
        evidence.stream_answered(1000.0 + number * apart)
    return evidence


def test_three_refusals_over_ten_minutes_prove_it() -> None:
    assert GONE_ANSWERS == 3
    assert refused(3, GONE_SECONDS / 2).proven
    assert not refused(2, GONE_SECONDS).proven
    assert not refused(50, GONE_SECONDS / 50).proven, "the first and the last are less than ten minutes apart"


def test_refusals_while_the_stream_does_not_answer_prove_nothing() -> None:
    evidence = GoneEvidence()
    for _ in range(100):
        evidence.refused()
    assert not evidence.proven
    for now in (0.0, GONE_SECONDS, 2 * GONE_SECONDS, 3 * GONE_SECONDS):
        evidence.stream_answered(now)
    assert not evidence.proven, "one refusal counts once"


def test_a_shard_that_is_found_after_all_starts_from_zero() -> None:
    evidence = refused(2, GONE_SECONDS)
    evidence.found()
    evidence.refused()
    evidence.stream_answered(5000.0)
    assert not evidence.proven
