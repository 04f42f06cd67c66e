"""What tests share: builders, drivers of the machines, fakes behind the ports, engines and processes."""
