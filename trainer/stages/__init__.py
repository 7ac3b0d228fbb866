"""The stages before and after a fit: each takes paths and gives paths, resumes, and marks what it wrote."""
