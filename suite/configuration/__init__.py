"""What must be equal in a comparison, and what may vary."""
