"""One file a resource. A new file is named in `api.storage.metadata`, with its migrations."""
