"""One file a resource; `api.storage.metadata` finds them all. Each has its migrations."""
