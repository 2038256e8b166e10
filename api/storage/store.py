"""All that outlives the process, opened and closed together."""

from __future__ import annotations

import dataclasses

from api.settings import ServerSettings
from api.storage.blobs import BlobStore, open_blobs
from api.storage.database import Database, sqlite_url, telling
from api.storage.folder import data_folder, make_private
from engine.errors import SetupError


@dataclasses.dataclass(frozen=True)
class Storage:
    """The database with its tables, and the blobs."""

    database: Database
    blobs: BlobStore

    async def close(self) -> None:
        """Let go of connections."""
        await self.database.close()


async def open_storage(settings: ServerSettings, *, makes_it: bool = True) -> Storage:
    """Open what the settings name, with the tables of this version.

    Arguments:
        makes_it: make the database if it is not there.

    Raises:
        SetupError: a URL cannot be one of ours, or there is no database; trying again does not
            help.
        StorageError: it cannot be used now.
    """
    # Here, because only whoever opens a database needs it, and it takes a while.
    from api.storage.migrate import has_tables, migrate

    folder = data_folder(settings.data_dir)
    database = Database.open(settings.database_url or sqlite_url(folder))
    try:
        if not makes_it and not await has_tables(database):
            place = database.engine.url.render_as_string(hide_password=True)
            raise SetupError(f"there is no database of servax at {place}")
        with telling():
            if not settings.database_url or not settings.blob_url:
                make_private(folder)
            blobs = open_blobs(settings.blob_url, folder)
        await migrate(database)
    except BaseException:
        await database.close()
        raise
    return Storage(database, blobs)
