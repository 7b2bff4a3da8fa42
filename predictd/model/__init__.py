"""Pure mathematics on arrays: no files, no engines."""
