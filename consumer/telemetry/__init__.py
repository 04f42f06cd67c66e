"""What the process tells about itself: logs, metrics, health."""
