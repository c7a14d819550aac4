"""The command line: what it understands, and how it answers."""
