"""The benchmark: the worker beside a straightforward handler. `make bench` runs it and writes the tables.

One run, one machine, ratios first. Processor time is that of the client process alone; the floor is `json.loads` of the
pages that the run itself read.
"""
