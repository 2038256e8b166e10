"""One file a family: what its config.json and its tensors are called, and what is unusual."""
