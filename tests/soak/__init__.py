"""Soak: chaos for long, and a worker that is spared, so that what it takes of the machine can be seen not to grow."""
