"""The operators' commands, beside the worker's path: the same domain, over ports that the wiring fills."""
