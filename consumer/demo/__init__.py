"""The demo that runs on the operator's own machine, and the embedded table engine that it needs."""


def play(games: int, players: int, *, keep: bool = False) -> int:
    """Runs the demo on this terminal: 0 when the board is exact at the end, 1 when it is not. Raises ConsumerError.

    `keep`: engine, tables and a worker then go on until Ctrl-C, with commands to play with.
    """
    from consumer.demo.scenario import play

    return play(games, players, keep=keep)
