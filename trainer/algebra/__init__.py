"""Exact arithmetic as people write it: expressions, equations in prose, problems that can be solved from their text. Knows no critique."""
