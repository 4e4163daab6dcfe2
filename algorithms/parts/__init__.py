"""What several methods are made of: networks, fits, updates."""
