"""What there is to choose from, as `suite list` shows it."""
