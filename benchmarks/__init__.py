"""One file for each claim, and the demonstration. Each prints what it measured and on what."""
