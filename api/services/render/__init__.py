"""What a request would give the engine, without running it."""
