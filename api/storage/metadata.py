"""All tables together: importing this makes `METADATA` whole."""

from __future__ import annotations

import importlib
import pkgutil

from api.storage import tables
from api.storage.base import Base

for _module in pkgutil.iter_modules(tables.__path__):
    importlib.import_module(f"{tables.__name__}.{_module.name}")

METADATA = Base.metadata
