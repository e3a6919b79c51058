"""Building and city models → batches. One reader a file; shared ideas beside it, each in a file of its own."""
