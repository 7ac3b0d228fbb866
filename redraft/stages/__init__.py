"""The stages of a loop, one module each: draft, judge, revise. Each takes the work of one run and adds to it."""
