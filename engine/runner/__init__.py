"""The runner: takes the scheduler's plans to the device and brings back what they gave.

    environment  variables that must be set before jax is imported
    devices      what the machine has, as plain numbers
    buckets      which shapes of step are compiled, and which one a plan takes (pure)
    fields       where everything lies in the one packed array of a step (pure)
    inputs       a plan as that array
    step         the pure function that is compiled: unpack, decode, sample, pack
    arguments    the arrays a step is given: weights, pages, slot state; shapes and placing
    compile      ahead-of-time compilation, the persistent cache, counting of compilations
    warmup       compiling the rest in the background
    handle       a launched step, and its results on the host
    memory       how many pages fit
    runner       launch
    build        from a model's name to a runner that has run a real step

Importing `engine.runner` imports no jax.
"""
