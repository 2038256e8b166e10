"""Telling a project's own server what became of its background work.

events      the kinds there are; `emit` writes what is to be told, in the caller's transaction
signing     Standard Webhooks: id, time and HMAC over both and the body
target      which addresses may be spoken to at all
delivery    due rows are claimed, sent, and sent again with growing pauses
endpoints   what a project wants told where
"""
