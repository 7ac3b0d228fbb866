"""The HTTP surface: vLLM's own OpenAI server with the critique loop added, or the same routes over a remote engine."""
