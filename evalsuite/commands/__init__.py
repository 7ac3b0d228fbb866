"""One module per subcommand of `evalsuite`. They read options and print; the work is done by the modules beside this package."""
