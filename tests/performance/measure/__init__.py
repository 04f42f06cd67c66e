"""Measurements of real workers from outside: how soon they act, and what they use, beside limits.

`python -m tests.performance.measure` prints a table. Every number comes from the streams server's logs and counts, or
from the kernel, none from what a worker reports of itself.
"""
