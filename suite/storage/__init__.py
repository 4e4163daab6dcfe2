"""What is kept on disk, safe from crashes and shared by many."""
