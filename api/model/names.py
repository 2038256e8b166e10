"""What the served model is called."""

from __future__ import annotations

from api.settings import ServerSettings
from engine.config import EngineConfig

EMBEDDED_MODEL_NAME = "servax-tiny"
"""Name of the folder that `--model ""` means; known before the folder is opened."""


def model_names(settings: ServerSettings, config: EngineConfig) -> tuple[str, ...]:
    """Names clients may use, the first in answers; never empty."""
    if settings.served_model_name:
        return settings.served_model_name
    return (config.model or EMBEDDED_MODEL_NAME,)
