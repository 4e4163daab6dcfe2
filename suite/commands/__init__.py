"""What a user can type after `suite`, one theme a file.

suite/cli.py names every command; those that read stored runs are in reports/commands.py. Modules
are imported whenever `suite --help` lists the commands, so each imports what is heavy in the
functions that need it.
"""
