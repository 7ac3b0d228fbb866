"""API keys: what one may do, where they are kept, how one is recognised, how much it may ask for. Knows no HTTP and no model."""
