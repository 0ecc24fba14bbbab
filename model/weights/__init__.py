"""Weight files: where they are found, how they are read and verified, and the packed file that the kernels map."""
