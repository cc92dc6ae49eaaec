"""Alerts: objectives, burn-rate rules, Alertmanager's configuration, runbooks, and the page behind each alert."""
