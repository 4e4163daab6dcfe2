"""Other authors' methods to stand beside the five, one a file."""
