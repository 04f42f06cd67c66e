"""How fast and how frugal workers are: real processes, measured from outside and held against limits.

`python -m tests.measure` prints a table. Every number comes from what the streams server saw or the kernel counted,
none from what a worker says of itself.
"""
