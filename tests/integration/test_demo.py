"""`consumer demo`, as an operator runs it: a process, an exact verdict, and nothing left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from consumer.aws.tables import DynamoBoard
from consumer.demo import play
from consumer.domain.operator_ports import BoardRow
from tests.support.engines import TableEngine
from tests.support.processes import read_board, until
from tests.support.processes.waiting import http_get

SMALL = ("--games", "1500", "--players", "50")
WAIT_SECONDS = 60
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the list of processes is read from /proc")


@contextmanager
def start(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "consumer", "demo", *arguments],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as demo:
        try:
            yield demo
        finally:
            demo.kill()


def descendants(pid: int) -> set[int]:
    """The processes that `pid` started, those that these started, and so on."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # gone in the meantime
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found: set[int] = set()
    while new := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= new
    return found


def gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS / 4
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def lines_until(demo: subprocess.Popen[str], word: str) -> Iterator[str]:
    assert demo.stdout is not None
    for line in demo.stdout:
        yield line
        if word in line:
            return
    pytest.fail(f"it ended before it printed {word!r}: {demo.communicate()[1]}")


def test_a_small_demo_ends_exact() -> None:
    with start(*SMALL) as demo:
        printed, errors = demo.communicate(timeout=WAIT_SECONDS)
    print(printed)
    assert (demo.returncode, errors) == (0, ""), printed
    assert "\nEXACT: 1,500 games of 50 players" in printed
    assert "6 poison records in quarantine" in printed
    assert " writes  marked writes (GameEvents is keyed by playerId)\n" in printed
    assert re.search(r" kill +SIGKILL to process \d+: [\d,]+ done, [\d,]+ waiting in the stream\n", printed)
    to_go = re.search(r"killed with ([\d,]+) records to go", printed)
    assert to_go is not None
    assert int(to_go[1].replace(",", "")) > 0, "killed while records remain"
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.isascii()


@linux_only
@pytest.mark.parametrize(
    ("sent", "ends_with"),
    [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)],
)
@pytest.mark.parametrize("word", ["started:", "started again:"])
def test_nothing_is_left_when_it_is_ended_half_way(sent: signal.Signals, ends_with: int, word: str) -> None:
    with start("--games", "20000", "--players", "500") as demo:
        for _ in lines_until(demo, word):
            pass
        pids = descendants(demo.pid)
        assert len(pids) >= 2, "the engine and the worker"
        demo.send_signal(sent)
        _, errors = demo.communicate(timeout=WAIT_SECONDS)
        assert demo.returncode == ends_with
        assert errors == ""
    assert gone(pids)


KEPT = ("--games", "300", "--players", "5", "--keep")


def wait_until_kept(demo: subprocess.Popen[str]) -> str:
    """What it has printed, up to the line that says how to end it."""
    return "".join(lines_until(demo, "Ctrl-C ends it all"))


def in_another_terminal(printed: str) -> list[str]:
    """The commands that are there to play with; one look in place of those that watch, which may see that it starts."""
    lines = re.findall(r"^  ((?:export|consumer|kill) .*?)(?:  .*)?$", printed, re.MULTILINE)
    return [line.replace(" --watch", " || test $? -eq 10") for line in lines]


@linux_only
def test_what_is_kept_can_be_played_with() -> None:
    with start(*KEPT) as demo:
        printed = wait_until_kept(demo)
        print(printed)
        assert "\nEXACT: 300 games of 5 players" in printed
        assert max(map(len, printed.splitlines())) <= 80
        kept = descendants(demo.pid)
        metrics = re.search(r"http://(127\.0\.0\.1:\d+)(/metrics)", printed)
        assert metrics is not None
        assert "leaderboard_consumer_lag_seconds" in http_get(metrics[1], metrics[2])[1]

        commands = in_another_terminal(printed)
        setup = [line for line in commands if line.startswith("export")]
        looks = [line for line in commands if line.startswith("consumer") and line != "consumer run"]
        assert len(looks) > 4
        script = "\n".join(["set -e", *setup, *looks])
        clean = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"]}
        done = subprocess.run(["sh", "-c", script], env=clean, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "score_missing" in done.stdout
        assert "score=5" in done.stdout, "the audit row of the re-drive"

        (item,) = re.findall(r"--item '(.*?)'", printed, re.DOTALL)
        url = re.findall(r"AWS_ENDPOINT_URL=(\S+)", printed)[0]
        client = TableEngine("ministack", url).client("dynamodb")
        client.put_item(TableName="GameEvents", Item=json.loads(item))
        until(lambda: "ada" in read_board(client, "Leaderboards"), "the game that was written is counted")
        client.close()

        (kill,) = [line for line in commands if line.startswith("kill")]
        subprocess.run(kill.split(), check=True)
        assert any("has ended with status -9" in line for line in lines_until(demo, "has ended"))
        demo.send_signal(signal.SIGINT)
        rest, errors = demo.communicate(timeout=WAIT_SECONDS)
        assert (demo.returncode, errors) == (0, "")
        assert rest.endswith("nothing is left running\n")
    assert gone(kept)


@linux_only
@pytest.mark.parametrize(("sent", "ends_with"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)])
def test_nothing_of_what_is_kept_is_left(sent: signal.Signals, ends_with: int, tmp_path: Path) -> None:
    with start(*KEPT, TMPDIR=str(tmp_path)) as demo:
        wait_until_kept(demo)
        kept = descendants(demo.pid)
        assert len(kept) >= 2, "the engine and the worker"
        demo.send_signal(sent)
        _, errors = demo.communicate(timeout=WAIT_SECONDS)
        assert (demo.returncode, errors) == (ends_with, "")
    assert gone(kept)
    assert list(tmp_path.iterdir()) == []


@linux_only
def test_what_is_kept_ends_with_the_program_that_started_it() -> None:
    """`make` is killed, or a shell."""
    command = [sys.executable, "-m", "consumer", "demo", *KEPT]
    shell = ["sh", "-c", '"$@"; exit 0', "sh", *command]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0) as make:
        try:
            wait_until_kept(make)
            kept = descendants(make.pid)
            assert len(kept) >= 3, "the demo, the engine and the worker"
            make.kill()
            assert gone(kept)
        finally:
            os.killpg(make.pid, signal.SIGKILL)


def test_a_tampered_board_is_not_exact(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    rows = DynamoBoard.rows

    def tampered(board: DynamoBoard) -> Iterator[BoardRow]:
        for row in rows(board):
            assert row.total is not None
            yield row._replace(total=row.total + Decimal("1e-9")) if row.player == "bold-badger" else row

    monkeypatch.setattr(DynamoBoard, "rows", tampered)
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    before = dict(os.environ)
    assert play(games=300, players=2) == 1
    printed = capfd.readouterr().out
    assert re.search(r"\nNOT EXACT: 1 difference\n +bold-badger: totalScore is [\d.]+, not [\d.]+\n$", printed), printed
    assert os.environ == before


def test_an_engine_that_is_not_available_is_a_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "python"
    done = subprocess.run(
        [sys.executable, "-m", "consumer", "demo"],
        env=os.environ | {"CONSUMER_DEMO_ENGINE": os.fspath(missing)},
        check=False,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"the embedded engine cannot be had: CONSUMER_DEMO_ENGINE is {missing}")
    assert len(done.stderr.splitlines()) == 1
