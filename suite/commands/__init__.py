"""The commands of `suite`, one theme a file; none imports JAX.

Modules are imported whenever `suite --help` lists the commands, so each imports what is heavy in
the functions that need it. suite/cli.py names every command; those that read stored runs are in
reports/commands.py.
"""
