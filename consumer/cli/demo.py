"""`consumer demo`: see it work, and be killed, on this machine."""

import typer


def demo(
    games: int = typer.Option(20_000, min=1, metavar="NUMBER", help="How many games are played."),
    players: int = typer.Option(500, min=1, metavar="NUMBER", help="How many players play them."),
) -> None:
    """Plays games on an embedded engine, kills the worker half-way, and compares the board digit by digit.

    \b
    Example:
      consumer demo --games 20000 --players 500
    """
    from consumer.demo import play

    raise typer.Exit(play(games=games, players=players))
