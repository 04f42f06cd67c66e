"""Keeps a leaderboard table up to date from a DynamoDB stream, each record counted exactly once."""

__version__ = "0.1.0"
