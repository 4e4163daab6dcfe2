"""What a method must be to be known by a name."""
