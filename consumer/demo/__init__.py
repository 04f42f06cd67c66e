"""A run that anyone can watch on their own machine, and the embedded table engine that it needs."""
