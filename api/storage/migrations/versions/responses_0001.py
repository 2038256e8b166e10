"""Responses, their items and events, conversations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "responses_0001"
down_revision = None
branch_labels = ("responses",)
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "responses",
        *_owned(),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("key_id", sa.String(128), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("parent_id", sa.String(128), nullable=True),
        sa.Column("ancestors", sa.LargeBinary(), nullable=False),
        sa.Column("conversation_id", sa.String(128), nullable=True),
        sa.Column("num_before", sa.Integer(), nullable=False),
        sa.Column("is_background", sa.Boolean(), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), nullable=False),
        sa.Column("has_events", sa.Boolean(), nullable=False),
        sa.Column("outputs", sa.LargeBinary(), nullable=False),
        sa.Column("continued_by", sa.String(128), nullable=True),
        sa.Column("queue", sa.String(128), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("lease_owner", sa.String(64), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("lease_number", sa.Integer(), nullable=False),
        sa.Column("num_failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_responses"),
    )
    op.create_index("ix_responses_project_id_id", "responses", ["project_id", "id"])
    op.create_index("ix_responses_is_open", "responses", ["is_open"])
    op.create_index("ix_responses_parent_id", "responses", ["parent_id"])
    op.create_table(
        "items",
        sa.Column("holder_id", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.String(128), nullable=False),
        sa.Column("item_id", sa.String(128), nullable=False),
        sa.Column("is_output", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("holder_id", "position", name="pk_items"),
    )
    op.create_index("ix_items_project_id_item_id", "items", ["project_id", "item_id"])
    op.create_table(
        "response_events",
        sa.Column("response_id", sa.String(128), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("response_id", "first", name="pk_response_events"),
    )
    op.create_table(
        "conversations",
        *_owned(),
        sa.Column("tags", sa.LargeBinary(), nullable=False),
        sa.Column("num_positions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_project_id_id", "conversations", ["project_id", "id"])


def _owned() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("project_id", sa.String(128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    ]
