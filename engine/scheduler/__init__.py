"""Who computes what in the next step, and what came of the last one.

plan        the value handed to the runner
state       live sequences: waiting, running, slots
waiting     precedence    fairness    a queue a tenant
admission   who may start preemption  who must yield
planner     one step      settling    results become deltas
scheduler   the whole, behind a few calls
"""
