"""What outlives the process: one database, one store of blobs.

    folder      where both are by default
    database    engine, transactions, typed errors
    base        the declarative base, mixins and column types
    tables/     one file a resource
    migrations/ one branch a resource, run at start
    ids         ids in OpenAI's forms, sorted by time
    owned       queries that never leave their project
    paging      cursors of lists
    blobs       files too large for rows
    store       all of it, opened and closed

Every function takes the `project_id` whose rows it may see. A row of another project is 404.
"""
