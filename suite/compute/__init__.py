"""One seed's computation, compiled for all seeds at once."""
