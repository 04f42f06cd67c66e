"""What a simulation finds."""


class Violation(AssertionError):
    """An invariant is broken: its name, and the smallest facts needed to see it."""

    def __init__(self, name: str, facts: str) -> None:
        super().__init__(name, facts)
        self.name = name
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.name}: {self.facts}"
