"""All tables together: importing this makes `METADATA` whole."""

from __future__ import annotations

from api.storage.base import Base
from api.storage.tables import files, webhooks

TABLE_MODULES = (files, webhooks)
METADATA = Base.metadata
