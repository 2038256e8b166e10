"""Alembic's migrations. Each resource has a branch of its own in `versions/`, so that resources
change without waiting for each other; all heads are applied at start."""
