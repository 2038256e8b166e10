"""From a model's name to device arrays: find the folder, read it safely, place the weights.

    source      which folder a `--model` means (embedded, a folder, a hub id)
    folder      reading files of that folder and never one outside it
    header      the header of a safetensors file, checked before anything is mapped
    checkpoint  one or many safetensors files seen as one table of tensors
    assemble    one parameter from checkpoint tensors: fused per shard, cast
    loader      parameters onto devices, one at a time
    dummy       seeded random weights of the right shapes
    fingerprint what makes two servers give the same bytes, hashed

Only `loader` imports jax.
"""
