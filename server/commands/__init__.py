"""One file for each subcommand of `redraft`."""
