"""What the harness takes for granted of a learning method."""
