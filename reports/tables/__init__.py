"""Sets the numbers out in tables, one file a subject."""
