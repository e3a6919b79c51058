"""Pure array functions: no files, no layers, no clock."""
