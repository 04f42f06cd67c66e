"""Real worker processes against real engines: a game with its tally, the worker, and a proxy that makes faults."""

from tests.processes.board import Difference, differences, read_board
from tests.processes.game import Game, Played
from tests.processes.proxy import Proxy
from tests.processes.tally import Row, Tally
from tests.processes.terminal import CTRL_C, CTRL_D, Terminal
from tests.processes.traffic import Call, Fate, Hold, is_commit
from tests.processes.waiting import until
from tests.processes.worker_process import WorkerProcess, consumer, guards_off

__all__ = [
    "CTRL_C",
    "CTRL_D",
    "Call",
    "Difference",
    "Fate",
    "Game",
    "Hold",
    "Played",
    "Proxy",
    "Row",
    "Tally",
    "Terminal",
    "WorkerProcess",
    "consumer",
    "differences",
    "guards_off",
    "is_commit",
    "read_board",
    "until",
]
