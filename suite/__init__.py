"""What trains methods, and keeps what they did.

Rooms from the top down: commands, training, then compute, planning and methods, then storage and
catalog, configuration, common. Each imports what is below it.
"""
