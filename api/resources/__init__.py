"""Routes: one blueprint a resource, each route a few lines that hand over to a service."""
