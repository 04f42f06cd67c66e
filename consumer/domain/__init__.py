"""The pure rooms: what a record, a unit, a lease and a decision are. No I/O, no clock, no log."""
