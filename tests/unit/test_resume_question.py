"""What `consumer resume` shows of the records that wait, and what it asks: what is not known is said."""

from collections import Counter
from dataclasses import replace

import pytest

from consumer.cli.resume import _agree
from consumer.domain.breaker import Circuit
from consumer.domain.errors import UnsafeRefused
from consumer.domain.records import Rules
from consumer.operations.waiting import Example, Waiting
from tests.support.builders import CREATED, SYMPTOM, row, shard


def waiting(good: int = 0, poison: int = 0, number: int = 0, *, whole: bool = True) -> Waiting:
    circuit = Circuit(halted_at=CREATED, had_game=True, symptom=SYMPTOM)
    made = Waiting(replace(row(number, checkpoint="5"), circuit=circuit), Rules())
    made.read, made.good, made.whole = good + poison, good, whole
    made.newest = "9" if made.read else None
    if poison:
        made.poison = Counter({"score_type": poison})
        made.examples = {"score_type": Example("7", 'score is {"S": "12"}')}
    return made


def asked(*shards: Waiting, capsys: pytest.CaptureFixture[str], quarantine_all: bool = False) -> tuple[str, str]:
    """What is shown, and the question."""
    with pytest.raises(UnsafeRefused) as refused:
        _agree(shards, (), quarantine_all=quarantine_all, accepting=False, yes=False)
    return capsys.readouterr().err, str(refused.value).partition("\n")[0]


def test_a_whole_count(capsys: pytest.CaptureFixture[str]) -> None:
    shown, question = asked(waiting(1200, 3), capsys=capsys)
    assert question == "Go on to 1,200 good and 3 poison (score_type 3)?"
    assert "  1,203 records: 1,200 good and 3 poison (score_type 3)\n" in shown
    assert '  score_type: score is {"S": "12"}, as in record 7\n' in shown
    assert "at least" not in shown


def test_a_count_that_stopped_is_a_lower_bound(capsys: pytest.CaptureFixture[str]) -> None:
    shown, question = asked(waiting(1, 3, whole=False), waiting(2, number=1), capsys=capsys, quarantine_all=True)
    assert question == "Let at least 3 good and 3 poison (score_type 3) in 2 shards pass?"
    assert "  at least 4 records: 1 good and 3 poison (score_type 3)\n" in shown
    assert "  More follow behind 9: they were not looked at.\n" in shown
    assert "  2 records: 2 good and 0 poison\n" in shown
    assert f"Shard {shard(1)} is halted\n" in shown


def test_what_cannot_be_read_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    gone = waiting(whole=False)
    gone.unknown = "the stream is gone"
    shown, question = asked(gone, capsys=capsys)
    assert question == "Go on to records that could not be read?"
    assert "  What waits behind that is unknown: the stream is gone\n" in shown
    assert "0 good" not in shown
    _, question = asked(gone, waiting(5, number=1), capsys=capsys)
    assert question == "Go on to records of which some could not be read in 2 shards?"


def test_no_record_and_records_that_may_be_gone(capsys: pytest.CaptureFixture[str]) -> None:
    empty = waiting()
    empty.trimmed = True
    shown, question = asked(empty, capsys=capsys)
    assert question == "Go on to 0 good and 0 poison?"
    assert "may be gone from the stream" in shown
    assert "  The stream shows no record behind that.\n" in shown
