"""The subcommands of `trainer`, by what they work on."""
