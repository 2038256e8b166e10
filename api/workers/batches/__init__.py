"""Batches in work.

kind        the states of one batch, one after another
reading     lines of the input file
validation  is every line a request for this endpoint?
answering   one line becomes one result
running     many lines at a time, results kept in groups
finishing   results become files
"""
