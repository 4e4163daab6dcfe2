"""What the harness asks of a learning method, and records."""
