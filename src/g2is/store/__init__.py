"""What is kept on disk: gradient tables, moments, fingerprint."""
