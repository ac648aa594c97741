"""The files a user takes away."""
