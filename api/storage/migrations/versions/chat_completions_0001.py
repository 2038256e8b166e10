"""Stored chat completions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "chat_completions_0001"
down_revision = None
branch_labels = ("chat_completions",)
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "chat_completions",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("project_id", sa.String(128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("messages", sa.LargeBinary(), nullable=False),
        sa.Column("tags", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chat_completions"),
    )
    op.create_index("ix_chat_completions_project_id_id", "chat_completions", ["project_id", "id"])
    op.create_table(
        "chat_completion_tags",
        sa.Column("completion_id", sa.String(128), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("completion_id", "key", name="pk_chat_completion_tags"),
    )
