"""Leases: which process may write a cell of a run directory.

    RUN_DIR/.workers/TOKEN.json       sign of life of a process: a counter that grows
                     TOKEN.lock       held through the system for as long as the process lives
    CELL/.lease-000003                the cell's third owner, a process or nobody
    CELL/.lock                        held through the system while the cell is saved or taken

An owner is never overwritten, only succeeded: who wants a cell creates the file of the next
number, in which of several processes exactly one succeeds. A cell may be taken once its
owner has let go of it or is dead. A process is dead when the system has dropped its lock, if
it ran on this machine, or when its counter has stood still for long enough by the clock of
the one who watches; no two clocks are ever compared.

An owner that was only suspended finds a higher number before its next save, and stops.

worker.py and lease.py are the door; claims.py holds a cell's owners, signs_of_life.py who lives,
locks.py what the system knows.
"""
