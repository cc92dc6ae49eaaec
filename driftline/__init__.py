"""driftline logs every inference without harm, turns the stream into calibrated evidence,
and turns the evidence into error budgets that page.

This package is the floor of the house: the words all rooms share (events, monitors, results, names, errors,
settings). It does no input or output. ``driftline.cli`` is the roof: it wires rooms together, nothing else.
"""

__version__ = "0.1.0"
