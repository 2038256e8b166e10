"""Items that left their conversation stay for the responses that were made of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "responses_0007"
down_revision = "responses_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the mark, and the way to the responses that need an item."""
    op.add_column("items", sa.Column("removed_at", sa.Integer(), nullable=True))
    op.create_index(
        "ix_responses_conversation_id_num_before", "responses", ["conversation_id", "num_before"]
    )
