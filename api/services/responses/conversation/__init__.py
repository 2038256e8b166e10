"""What comes before a request.

history         all that it builds on
conversations   /v1/conversations
listing         items in pages
"""
