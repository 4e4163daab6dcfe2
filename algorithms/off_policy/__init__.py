"""What methods that learn from replayed transitions share."""
