"""Every flag of `servax serve`, as one table: parser, environment and `docs/flags.md` follow it.

Names and meanings are vLLM's where vLLM has the flag. `fields` says where a value goes:
`server.x` is `api.settings.ServerSettings.x`, `engine.x` is `engine.config.EngineConfig.x`.
A flag `--some-name` is also read from `SERVAX_SOME_NAME`. One module holds one group.
"""

from __future__ import annotations

from api.flags import access, answers, engine, limits, logging, model, server, storage, tools
from api.flags.flag import Flag

__all__ = ["FLAGS", "Flag"]

FLAGS: tuple[Flag, ...] = (
    *model.FLAGS,
    *server.FLAGS,
    *access.FLAGS,
    *storage.FLAGS,
    *engine.FLAGS,
    *limits.FLAGS,
    *tools.FLAGS,
    *answers.FLAGS,
    *logging.FLAGS,
)
