"""The runner: takes the scheduler's plans to the device and brings back what they gave.

    environment  variables that must be set before jax is imported
    devices      what the machine has, as plain numbers
    buckets      which shapes of step are compiled, and which one a plan takes (pure)
    fields       where everything lies in the one packed array of a step (pure)
    inputs       a plan as that array
    step         the pure function that is compiled: unpack, decode, sample, pack
    arguments    the arrays a step is given: weights, pages, slot state; shapes and placing
    executables  compiling the step of a bucket and the two helpers
    compile      the persistent cache, and the count of compilations nobody planned
    handle       a launched step, and its results on the host
    memory       how many pages fit
    runner       launch
    device_memory  freeing weights and pages for a while
    profiler     traces of the process and its device
    model_files  what a model folder says of itself
    build        from a model's name to a runner that has run a real step

`make_runner` (in `build`) is the door. Importing `engine.runner` imports no jax.
"""
