"""Speed, cost and growth, measured: bench, measure, soak."""
