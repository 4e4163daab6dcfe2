"""What every room may use, and that knows of none of them."""
