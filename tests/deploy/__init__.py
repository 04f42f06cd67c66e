"""What `deploy/` and a container in the open promise."""
