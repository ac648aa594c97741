"""What examples can be compared by instead of gradients: hidden states, embeddings, terms, a user's own rows."""
