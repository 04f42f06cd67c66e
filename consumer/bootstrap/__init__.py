"""Joins the rooms: the only place that knows settings, AWS, the worker and telemetry at once."""
