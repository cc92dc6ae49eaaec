"""The store: tables, transactions and reads, on SQLite and PostgreSQL alike; with ``keeping`` all that speaks SQL."""
