"""The API speaks: HTTP, OpenAI's and vLLM's words, streams. It never imports jax or models.

flags, settings      what the operator chose
app                  the Quart application: errors, access, limits, blueprints
resources/           routes; protocol/ their schemas; services/ what they do
serve, cli           the process: engine, listening socket, signals
"""
