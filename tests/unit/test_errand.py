from math import inf

from consumer.worker.errand import LASTING_FAILURES, Errand


def test_one_call_at_a_time_from_when_it_is_due() -> None:
    errand = Errand(at=5.0)
    assert [errand.ready(now) for now in (4.9, 5.0, 6.0)] == [False, True, True]
    assert errand.wake_at == 5.0
    errand.send(6.0)
    assert errand.ready(7.0) is False
    assert (errand.wake_at, errand.sent_at) == (inf, 6.0)
    errand.land()
    errand.succeed(8.0)
    assert (errand.wake_at, errand.ready(8.0)) == (8.0, True)


def test_a_retry_is_a_due_time() -> None:
    errand = Errand()
    for failures in (1, 2):
        errand.fail(10.0, 0.5)
        assert (errand.at, errand.failures) == (10.5, failures)
    errand.succeed(11.0)
    assert errand.failures == 0


def test_trouble_is_shown_when_it_lasts() -> None:
    errand = Errand()
    shown = []
    for _ in range(LASTING_FAILURES):
        errand.fail(0.0, 1.0, "Read fails: down")
        shown.append(errand.trouble)
    assert shown == [*[None] * (LASTING_FAILURES - 1), "Read fails: down"]
    errand.succeed(0.0)
    assert errand.trouble is None
