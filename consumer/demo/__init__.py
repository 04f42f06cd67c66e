"""The demo that runs on the operator's own machine, and the embedded table engine that it needs."""


def play(games: int, players: int) -> int:
    """Runs the demo on this terminal: 0 when the board is exact at the end, 1 when it is not. Raises ConsumerError."""
    from consumer.demo.scenario import play

    return play(games, players)
