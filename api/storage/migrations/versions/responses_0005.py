"""Where items of conversations were that are removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "responses_0005"
down_revision = "responses_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "removed_items",
        sa.Column("holder_id", sa.String(128), nullable=False),
        sa.Column("item_id", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("holder_id", "item_id", name="pk_removed_items"),
    )
