"""What a request must pass before any route sees it: its host, its key, its size, its contents. Pure ASGI; knows no engine."""
