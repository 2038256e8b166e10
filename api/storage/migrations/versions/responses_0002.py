"""What a response that is not over has used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "responses_0002"
down_revision = "responses_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("responses", sa.Column("usage", sa.LargeBinary(), nullable=True))
