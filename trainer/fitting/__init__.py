"""The `fit` stage: rendered examples, the library's trainers with what they lack, checkpoints, and what CPUs need to be quick."""
