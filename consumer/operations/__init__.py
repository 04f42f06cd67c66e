"""What a person asks for, beside the worker's way: the same domain, over ports that bootstrap fills."""
