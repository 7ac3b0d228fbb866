"""Ready configurations for `trainer fit`; the data files they name are yours to bring."""
