"""One suite of the ports' behaviour, for the fakes and for both engines: so the fakes cannot lie."""
