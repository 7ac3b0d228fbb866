"""Adapters as immutable revisions behind aliases: admitted, loaded, switched and unloaded without a lost or a mixed answer.

Knows no vLLM: an engine is reached through `slots.AdapterHost`, which `server.engine.adapters` implements.
"""
