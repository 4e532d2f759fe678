"""A program's side of a peer: the conversation with its agent, what is asked of it, and words for what it says."""
