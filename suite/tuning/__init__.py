"""`suite tune`: settings of every method found by one and the same effort."""
