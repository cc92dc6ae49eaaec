"""The roof: one function per command. It wires rooms together and does nothing else.

Rooms are imported inside the commands, so that ``driftline sidecar`` starts without NumPy and SQLAlchemy.
"""
