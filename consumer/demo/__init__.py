"""A run that anyone can watch on their own machine, and the embedded table engine that it needs."""


def play(games: int, players: int) -> int:
    """Plays the demonstration before a person's eyes: 0 when the board is exact at the end, 1 when it is not.

    Raises ConsumerError when it cannot be played to its end.
    """
    from consumer.demo.programme import perform

    return perform(games, players)
