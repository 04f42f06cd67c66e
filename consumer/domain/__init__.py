"""The pure core: what a record, a commit unit, a lease and a decision are. No I/O, no clock, no log."""
