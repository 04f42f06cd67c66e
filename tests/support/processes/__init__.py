"""Real worker processes against real engines: a game and its expected board, the worker, and a proxy with faults."""

from tests.support.processes.expected import Difference, Expected, Row, differences, read_board
from tests.support.processes.game import Game, Played
from tests.support.processes.proxy import Proxy
from tests.support.processes.terminal import CTRL_C, CTRL_D, Terminal
from tests.support.processes.traffic import Call, Fate, Hold, is_commit, is_row_write
from tests.support.processes.waiting import until
from tests.support.processes.worker_process import WorkerProcess, consumer, guards_off

__all__ = [
    "CTRL_C",
    "CTRL_D",
    "Call",
    "Difference",
    "Expected",
    "Fate",
    "Game",
    "Hold",
    "Played",
    "Proxy",
    "Row",
    "Terminal",
    "WorkerProcess",
    "consumer",
    "differences",
    "guards_off",
    "is_commit",
    "is_row_write",
    "read_board",
    "until",
]
