"""Who runs the shards. No mathematics here."""
