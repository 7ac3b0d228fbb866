"""Rows of data files and of the hub, in all their formats, told where they came from. Knows no tokenizer and no stage."""
