"""`consumer replay`: counts a range of a shard again, or what of it is not counted yet. Machines without I/O."""
