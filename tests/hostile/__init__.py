"""What strangers do to a peer, over real sockets."""
