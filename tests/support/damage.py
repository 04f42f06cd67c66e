"""What a broken wire makes of a reply."""

import re

_DIGITS = (re.compile(rb'("N"\s*:\s*"-?)([0-9])'), re.compile(rb"()([0-9])"))


def damaged(body: bytes) -> bytes:
    """The body with another digit: in its first number, else anywhere. As it is when it has none."""
    for pattern in _DIGITS:
        changed, found = pattern.subn(lambda digit: digit[1] + b"%d" % (9 - int(digit[2])), body, count=1)
        if found:
            return changed
    return body
