"""The command line: `towerlog COMMAND`. It can do nothing that the layers below cannot; commands load when called."""
