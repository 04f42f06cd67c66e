"""To which part of the worker a profile's time belongs."""

from cProfile import Profile
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from tests.performance.bench.profiled import OTHER, seconds_by_part


class Code(NamedTuple):
    co_filename: str
    name: str = ""


FOLD, WIRE = Code("/a/consumer/domain/fold.py"), Code("/a/consumer/aws/wire.py")


def profile(*entries: Any) -> Profile:
    return cast(Profile, SimpleNamespace(getstats=lambda: entries))


def entry(code: Any, seconds: float, **calls: tuple[Any, float]) -> Any:
    called = [SimpleNamespace(code=inner, inlinetime=its) for inner, its in calls.values()]
    return SimpleNamespace(code=code, inlinetime=seconds, calls=called)


def test_what_is_in_no_part_is_of_its_callers_in_proportion() -> None:
    outer = Code("/lib/python3.11/json/encoder.py", "encode")
    folding = entry(FOLD, 1.0, a=(outer, 0.3), b=("<sum>", 0.5))
    writing = entry(WIRE, 2.0, a=(outer, 0.1))
    found = seconds_by_part(
        [profile(folding, entry("<sum>", 0.5)), profile(writing, entry(outer, 0.4, a=("<c>", 0.8)), entry("<c>", 0.8))]
    )
    assert found["fold"] == pytest.approx(1.0 + 0.5 + 0.3 + 0.6)
    assert found["the board's requests and replies"] == pytest.approx(2.0 + 0.1 + 0.2)
    assert found[OTHER] == pytest.approx(0)


def test_what_nothing_calls_is_other_and_nothing_is_lost() -> None:
    alone, again = Code("/lib/x.py", "alone"), Code("/lib/x.py", "again")
    found = seconds_by_part([profile(entry(alone, 0.7), entry(again, 0.2, a=(again, 0.2)), entry(FOLD, 1.0))])
    assert sum(found.values()) == pytest.approx(1.9)
    assert found[OTHER] == pytest.approx(0.9)
