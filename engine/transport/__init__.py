"""How messages travel between API workers and the engine.

`endpoint.Endpoint` is the engine's side. Two kinds carry the same objects: `sockets` (ZeroMQ over
a Unix socket in a private folder, msgpack) with `connection.Connection` as the client's side, and
`memory` (two deques) for tests and `engine.LLM`.

A session begins with the first message of a client and with the engine's answer `Ready`. A client
that receives `Ready` knows that the engine holds no request of it from before.
"""
