"""Soak: a long chaos run with one worker that is spared, whose use of the machine must not grow."""
