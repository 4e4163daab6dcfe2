"""The loop: trains jobs, saves, resumes and stops in time."""
