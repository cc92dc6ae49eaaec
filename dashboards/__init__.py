"""Dashboards: Grafana boards as code, the web pages for on-call people, and the drift report."""
