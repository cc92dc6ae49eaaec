"""Connections: to clients, to the model server, and the path between them."""
