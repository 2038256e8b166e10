"""KV memory: which pages exist, who owns them, what is remembered in them, how big they are.

page_pool       every page is trash, free, cached or owned; counts references
prefix_cache    a chain of hashes names what a full page holds
sequence_pages  the two above seen from one sequence, and the page table the device reads
sizing          how many pages a device can hold
"""
