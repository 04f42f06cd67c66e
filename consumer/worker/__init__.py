"""The worker: machines without I/O, one thread that owns them, and a pool that runs their calls."""
