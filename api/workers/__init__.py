"""Work that outlives its request: jobs in the database, claimed by whichever replica is free.

    job      one claimed job: its row, its lease, whether it should stop
    runner   claims, runs, renews, hands over
    crew     the runner in the server's life

A kind of job (`runner.JobKind`) names its table and queues and says how to run one.
"""
