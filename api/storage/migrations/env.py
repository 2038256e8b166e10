"""Alembic's entry: runs on the connection that `api.storage.migrate` hands over."""

from __future__ import annotations

from alembic import context

from api.storage.metadata import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
context.run_migrations()
