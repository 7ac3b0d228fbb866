"""`trainer run`: a plan's steps one after another, and the servers that they start for themselves."""
