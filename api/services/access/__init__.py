"""Keys, what they used, and requests that are said twice."""
