"""Deterministic simulation: the real worker code on fakes, a virtual clock, and a nemesis. A seed is a run."""
