"""The trainer: verified critiques in, a better critic out. Stages take paths and give paths; a running server is met only over HTTP."""
