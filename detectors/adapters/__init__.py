"""Detectors of other libraries, where these are installed."""
