"""Long runs on real engines: kills and chaos. `make proof` runs them."""
