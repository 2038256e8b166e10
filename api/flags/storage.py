"""Where state is kept."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import PATH, TEXT, size

STORAGE = "Storage"

FLAGS = (
    Flag(
        name="data-dir",
        kind=PATH,
        group=STORAGE,
        fields=("server.data_dir",),
        help="Folder of the database and of files. Default: servax in XDG_DATA_HOME, which is "
        "~/.local/share unless set.",
    ),
    Flag(
        name="database-url",
        kind=TEXT,
        group=STORAGE,
        fields=("server.database_url",),
        help="Database shared by replicas, as postgresql://user:password@host/name. Default: "
        "SQLite in the data folder.",
    ),
    Flag(
        name="max-file-size",
        kind=size(1024, 2**50),
        group=STORAGE,
        fields=("server.max_file_bytes",),
        help="Largest file that can be uploaded, in bytes.",
    ),
    Flag(
        name="blob-url",
        kind=TEXT,
        group=STORAGE,
        fields=("server.blob_url",),
        help="Store of files, as s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; "
        "credentials come from the variables those clouds use. Default: a folder in the data "
        "folder.",
    ),
)
