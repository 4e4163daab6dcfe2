"""What is learned in: tasks, run as vectors, and probes."""
