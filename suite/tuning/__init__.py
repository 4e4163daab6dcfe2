"""`suite tune`: every method's settings by equal effort."""
