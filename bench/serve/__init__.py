"""A load generator for any OpenAI endpoint: what its users see, measured from outside."""
