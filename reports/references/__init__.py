"""Published results, to show beside one's own."""
