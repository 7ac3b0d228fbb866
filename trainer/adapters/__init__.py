"""An adapter's folder: what is in it, whether it is sound, what it tells of itself, and how a running server gets it."""
