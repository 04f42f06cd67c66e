"""The worker: machines without I/O, one thread that runs them, and a pool of threads for their calls."""
