from consumer.worker.absence import GONE_ANSWERS, GONE_SECONDS, Absence


def refused(times: int, apart: float) -> Absence:
    absence = Absence()
    for number in range(times):
        absence.refused()
        absence.stream_answered(1000.0 + number * apart)
    return absence


def test_three_refusals_over_ten_minutes_prove_it() -> None:
    assert GONE_ANSWERS == 3
    assert refused(3, GONE_SECONDS / 2).proven
    assert not refused(2, GONE_SECONDS).proven
    assert not refused(50, GONE_SECONDS / 50).proven, "the first and the last are less than ten minutes apart"


def test_refusals_while_the_stream_does_not_answer_prove_nothing() -> None:
    absence = Absence()
    for _ in range(100):
        absence.refused()
    assert not absence.proven
    for moment in (0.0, GONE_SECONDS, 2 * GONE_SECONDS, 3 * GONE_SECONDS):
        absence.stream_answered(moment)
    assert not absence.proven, "one refusal counts once"


def test_a_shard_that_is_found_after_all_begins_anew() -> None:
    absence = refused(2, GONE_SECONDS)
    absence.found()
    absence.refused()
    absence.stream_answered(5000.0)
    assert not absence.proven
