"""Values and rules: what the service talks about. Standard library only, no I/O, no clock."""
