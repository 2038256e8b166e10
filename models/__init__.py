"""Models compose: one parametrised decoder, a family is a row of differences.

Arrays carry their axes as suffix letters, in order. This is the one glossary:

    T  tokens computed by one step (of all its sequences, one after another)
    R  rows of a step: the sequences it computes tokens of
    S  slots: rows of device state that a running sequence owns
    P  columns of a page table
    N  pages of the pool                     Z  tokens of a page
    D  width of the residual stream          F  width of the feed-forward layer
    Q  query heads = K * G                   K  key/value heads
    G  query heads that share a KV head      H  width of a head
    V  vocabulary                            W  32-bit words of a vocabulary bitmask
    A  alternatives reported per position (top logprobs)
    L  layers

So `q_TQH`, `page_table_RP`, `k_pages_NZKH`, `logits_RV`. Weights are stored as Hugging Face files
store them, output axis first: `gate_FD`.

Importing `models` imports neither jax nor flax; `models.decoder` does.
"""
