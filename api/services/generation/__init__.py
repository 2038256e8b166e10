"""What every answer is made of: the engine's deltas read, bounded and counted."""
