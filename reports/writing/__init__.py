"""What writes and prints reports, and makes them again."""
