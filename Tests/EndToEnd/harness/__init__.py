"""The harness of the end-to-end tests: an oracle which shares no code with the product."""
