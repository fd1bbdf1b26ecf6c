"""What only a CPU runs; `aepo.engines.local.dispatch` takes it where the model is on one.

`forward` chooses how tokens are read on: over a cache in blocks (`block_cache`) whose attention reads them where they
lie (`row_attention`), without the model's modules (`direct`) where they are `llama_shaped`. `segment_attention` is the
attention on a trie, of the rectangles that `segments` finds. `threads` measures how many are fastest.
"""
