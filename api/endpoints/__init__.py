"""Every route as a row of a table, and what is made from it: OpenAPI and `docs/endpoints.md`."""
