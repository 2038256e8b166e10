"""`<resource>_<number>.py`; the first of a resource has `down_revision = None` and its label."""
