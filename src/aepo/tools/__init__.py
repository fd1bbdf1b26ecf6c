"""What an agent can call: plain typed functions, a search index, an isolated Python."""
