"""The evaluation suite: runs a task against an endpoint, checks the answers and says how sure one can be. Starts no engine."""
