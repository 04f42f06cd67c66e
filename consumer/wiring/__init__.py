"""Builds the worker and operators' commands: the only place that knows settings, AWS, worker and telemetry at once."""
