"""A response as it is made, event by event.

run         from `response.created` to the one that ends it
frame       how it opens, stands and ends around its output
writer      what a choice gains → events of items
said        what was generated, token by token
dialects    names of events for other clients
pacing      fewer, longer lists of events
resuming    events of a response that is made a second time
restoring   the end of a response whose maker is gone
"""
