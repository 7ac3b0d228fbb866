"""Who writes critiques: the symbolic teacher, and a model behind any OpenAI-compatible endpoint."""
