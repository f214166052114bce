"""In-memory adapters of every port, which pass the contract tests of the real ones."""
