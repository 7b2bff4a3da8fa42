"""What the commands do, one file a verb: where files, engines and mathematics meet."""
