"""The kernel: the vocabulary and the algorithms of solve -> critique -> revise. Knows no FastAPI, no vLLM, no torch."""
