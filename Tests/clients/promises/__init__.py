"""What the server promises when the world is against it: a full disk, connections that die without a word, clients that do not read,
clocks that jump. Each is a part, a file here; `scripts/promises` runs them with the real server."""
