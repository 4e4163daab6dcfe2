"""What learns: one method a file, and the list of them."""
