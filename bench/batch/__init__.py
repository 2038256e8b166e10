"""What a batch costs: against the engine without a server, and in the latency of live requests.

lines           the same conversations for both
server          a server in a process of its own, its files and batches
offline_worker  the engine alone, in another
throughput      a batch beside `engine.LLM`
latency         live requests with and without a batch
command         the options, and the whole
"""
