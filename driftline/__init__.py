"""Model observability and drift monitoring for models in production.

This package is the floor of the house: the words that all rooms share (events, monitors, results, names, errors,
settings). It opens no socket and no database. ``driftline.cli`` is the roof: it wires rooms together, nothing else.
"""

__version__ = "0.1.0"
