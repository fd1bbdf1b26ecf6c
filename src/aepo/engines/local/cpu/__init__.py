"""The parts that only a CPU runs; `aepo.engines.local.dispatch` chooses them if the model is on a CPU.

`forward` chooses how new tokens are read. The cache has blocks (`block_cache`), and attention reads them where they lie
(`row_attention`). A model that is `llama_shaped` runs without its modules (`direct`). `segment_attention` is the
attention on a trie; it works on the rectangles that `segments` finds. `threads` measures the fastest number of threads.
"""
