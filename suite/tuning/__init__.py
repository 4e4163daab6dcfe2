"""Settings of every method, found by equal effort."""
