"""How fast the worker is, side by side with what people write instead: `make bench` runs it and writes the tables.

One run, one machine, ratios first. Processor time is the client process's alone; the floor is `json.loads` of the pages
that the run itself read.
"""
