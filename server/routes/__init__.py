"""HTTP routes, the same over vLLM in-process and over a remote engine."""
