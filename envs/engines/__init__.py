"""Who computes the physics of a task, and on what device."""
