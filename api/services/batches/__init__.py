"""Batches as their clients handle them: made, listed, retrieved, cancelled. `api.workers.batches`
runs them."""
