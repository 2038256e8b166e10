"""Whether whoever makes a response is to end it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "responses_0006"
down_revision = "responses_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    none = sa.Column("is_cancelled", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("responses", none)
